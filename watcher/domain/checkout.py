"""What a payer is told of an intent: one word for the screen, and whether it may still be paid (pure).

It never says more than the status does: nothing is paid before ``succeeded``.
"""

from enum import StrEnum

from watcher.domain.model import ChainClock, Flag, Intent, IntentState, Status


class CheckoutState(StrEnum):
    """What the checkout shows."""

    #: Nothing was seen yet.
    WAITING = "waiting"
    #: A payment is in the mempool.
    SEEN = "seen"
    #: Some money came on time, and more is needed.
    UNDERPAID = "underpaid"
    #: The time to pay is over, and what was sent until then may still be mined.
    CLOSING = "closing"
    #: The amount is there, and not yet deep enough.
    CONFIRMING = "confirming"
    PAID = "paid"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELED = "canceled"


#: In these the payer is shown where to pay.
PAYABLE = frozenset({CheckoutState.WAITING, CheckoutState.SEEN, CheckoutState.UNDERPAID})

#: In these nobody is to be led away: the payment is on its way, or there.
UNDER_WAY = frozenset({CheckoutState.SEEN, CheckoutState.CONFIRMING, CheckoutState.PAID})

#: Flags that a payer is told of; the others are between merchant and operator.
SHOWN_FLAGS = frozenset(
    {
        *(Flag.UNDERPAID, Flag.OVERPAID, Flag.LATE, Flag.SURPLUS, Flag.REORGED, Flag.UNVERIFIED),
        *(Flag.REFUND_DUE, Flag.REFUNDED, Flag.PARTIALLY_REFUNDED),
    }
)

#: Seconds without a block after which the chain is said to stand still.
STALLED_SECONDS = 1800

#: It ended, and is not paid.
UNPAID_ENDS = frozenset({Status.EXPIRED, Status.FAILED, Status.CANCELED})
_ENDED_BY_ITSELF = UNPAID_ENDS - {Status.CANCELED}

_ENDED = {
    Status.PROCESSING: CheckoutState.CONFIRMING,
    Status.SUCCEEDED: CheckoutState.PAID,
    Status.EXPIRED: CheckoutState.EXPIRED,
    Status.FAILED: CheckoutState.FAILED,
    Status.CANCELED: CheckoutState.CANCELED,
}


def checkout_state(intent: Intent, state: IntentState, clock: ChainClock) -> CheckoutState:
    """Return what the checkout of an intent shows at ``clock``."""
    if state.status is not Status.PENDING:
        return _ENDED[state.status]
    if state.in_flight:
        return CheckoutState.SEEN
    if clock.time >= intent.expires_at:
        return CheckoutState.CLOSING
    return CheckoutState.UNDERPAID if state.received else CheckoutState.WAITING


def can_switch(intent: Intent, state: IntentState, clock: ChainClock) -> bool:
    """Return whether the payer may still pay in another asset: nothing was paid or seen, and time is left."""
    return checkout_state(intent, state, clock) is CheckoutState.WAITING


def can_restart(state: IntentState) -> bool:
    """Return whether the payer may start anew: it ended by itself, and no money came or is on its way."""
    return state.status in _ENDED_BY_ITSELF and not (state.received or state.in_flight)


def seconds_left(intent: Intent, clock: ChainClock) -> int:
    """Return how long it may still be paid by the chain's clock, seconds; 0 when that is over."""
    return max(0, intent.expires_at - clock.time)


def is_stalled(clock: ChainClock, *, now: float) -> bool:
    """Return whether the chain stands still, as far as this server sees it; ``now`` is the machine's time."""
    return now - clock.time > STALLED_SECONDS


def version(intent: Intent, state: IntentState, clock: ChainClock, *, now: float) -> str:
    """Return a text that differs when the checkout shows something else; ``now`` is the machine's time.

    While it waits, the chain's clock counts by the minute, and while it confirms, every block does.
    """
    parts = [state.status, state.in_flight, state.received, state.refunded, *sorted(state.flags)]
    if state.status is Status.PENDING:
        parts += [clock.time // 60, clock.time >= intent.expires_at, is_stalled(clock, now=now)]
    elif state.status is Status.PROCESSING:
        parts.append(clock.hash)
    return "-".join(map(str, parts))
