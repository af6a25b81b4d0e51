"""What the topics must hold, stated independently of the services.

Nothing here imports processors/tracking. The fault suite, the simulation and the broker tests
compare topics and stores with it.
"""
