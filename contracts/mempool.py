"""Read the payment that a pending transaction intends (pure); it may fail, be replaced, or never be mined."""

from dataclasses import dataclass

from chain.api.parse_mempool import PendingTx
from chain.model import STX
from contracts.calls import IntendedPayment, read_intended_payment
from contracts.model import PaymentRules, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPayment:
    """An intended payment of a pending transaction; not proven by anything."""

    tx_id: str
    asset: str
    sender: str
    recipient: str
    amount: int
    route: Route
    memo: bytes | None = None
    terms_hash: bytes | None = None


def read_pending(tx: PendingTx, rules: PaymentRules) -> PendingPayment | None:
    """Return the payment intended by an STX transfer, a token's ``transfer`` or a payment contract call.

    None for all other transactions, for assets that are not in use, and for ignored senders. Payments through
    other contracts cannot be predicted.
    """
    if tx.call is not None:
        intended = read_intended_payment(tx.call, rules)
    elif tx.transfer is not None and STX in rules.assets:
        transfer = tx.transfer
        intended = IntendedPayment(
            asset=STX, recipient=transfer.recipient, amount=transfer.amount, memo=transfer.memo
        )
    else:
        intended = None
    if intended is None or (intended.sender or tx.sender) in rules.ignored_senders:
        return None
    return PendingPayment(
        tx_id=tx.tx_id,
        asset=intended.asset,
        sender=intended.sender or tx.sender,
        recipient=intended.recipient,
        amount=intended.amount,
        route=Route.TRANSFER if intended.terms_hash is None else Route.CONTRACT,
        memo=intended.memo,
        terms_hash=intended.terms_hash,
    )
