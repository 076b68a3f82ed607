"""Tell the merchant, at least once and in order: events, signatures, the outbox and the delivery worker.

Knows no chain and no intent. Imports nothing of ours.
"""
