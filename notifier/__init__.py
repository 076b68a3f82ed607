"""Webhook delivery, at least once and in order: events, signatures, the outbox, the delivery worker.

Independent of the chain and of payment intents: imports none of our other packages.
"""
