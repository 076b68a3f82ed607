"""What a pending transaction means to pay (pure). It proves nothing: it may fail, be replaced, or never be mined."""

from dataclasses import dataclass

from chain.api.parse_mempool import PendingTx
from chain.model import STX
from contracts.calls import IntendedPayment, read_intended_payment
from contracts.model import PaymentRules, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPayment:
    """Money that is on its way, as its sender says."""

    tx_id: str
    asset: str
    sender: str
    recipient: str
    amount: int
    route: Route
    memo: bytes | None = None
    terms_hash: bytes | None = None


def read_pending(tx: PendingTx, rules: PaymentRules) -> PendingPayment | None:
    """Return what a pending transaction means to pay: by a transfer of STX, a token's ``transfer`` or the payment contract.

    None for everything else, for assets that are not in use, and for senders whose transfers never count. Payments
    through other contracts cannot be foreseen.
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
