"""The lifecycle of one message: the state of its facts, and the verdict on a new fact. Pure.

Rules. A fact is (gateway, viewer, status) of a message; of two reports of a fact the earlier wins.
Facts are only added, so a state is a function of the set of its observations: their order,
repetition and batching have no effect. The rest of a state is derived from its facts, is the newest
value of a descriptive field, or the richest content (schemas/content_rank.py). The status of an
attempt is the highest rung it reached if that is `delivered` or above, else its failure, else its
highest rung. The status of the message is that of its best attempt. Viewers have states of their
own and never change the message's status.

A state is bounded (schemas/bounds.py): of too many names it keeps the first ones.
"""
