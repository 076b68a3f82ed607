"""What can be asked for, as functions that return a request: each becomes a method of both clients.

Amounts are base units (sats, micro-STX), ``int`` or decimal digits. What is None is not sent. ``merchant`` is for the
admin token: a merchant's own key says whose it is. ``idempotency_key`` makes a request the same one for 24 hours, also for
another process; without it each call is a request of its own, however often it has to be sent.
"""
