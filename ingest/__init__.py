"""The service that receives webhooks by HTTP and stores each body unchanged before it answers."""
