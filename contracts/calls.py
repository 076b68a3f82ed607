"""Read call arguments: of a token's ``transfer`` and of the payment contract's functions (pure).

Arguments are consensus bytes by position. Wrong arity or types, or bytes that are no value, give None: a
caller may send anything, and such a call intends no payment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chain.clarity import Buffer, NoneValue, PrincipalValue, Some, UInt
from chain.model import MEMO_BYTES, ContractCall
from contracts.model import PaymentRules
from contracts.networks import asset_contract
from contracts.prints import read_value
from contracts.terms import PAY_STX, PAY_TOKEN, terms_hash

#: SIP-010's transfer function.
TRANSFER = "transfer"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCall:
    """``(transfer amount sender recipient memo)`` of SIP-010."""

    amount: int
    sender: str
    recipient: str
    memo: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCall:
    """``pay-token`` or ``pay-stx`` of the payment contract."""

    #: Contract id, None for STX.
    token: str | None
    merchant: str
    amount: int
    terms_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IntendedPayment:
    """The payment that a call intends; only the events of a mined transaction prove it."""

    #: Full asset identifier, or ``STX``.
    asset: str
    #: The payer; None for the sender of the transaction.
    sender: str | None = None
    recipient: str
    amount: int
    memo: bytes | None = None
    terms_hash: bytes | None = None


def read_intended_payment(call: ContractCall, rules: PaymentRules) -> IntendedPayment | None:
    """Return the payment intended by a call of the payment contract or of a used asset's ``transfer``."""
    if call.args is None:
        return None
    assets = {asset_contract(asset): asset for asset in sorted(rules.assets, reverse=True)}
    if call.contract_id == rules.payment_contract:
        payment = read_payment_call(call.function, call.args)
        if payment is None or payment.token not in assets:
            return None
        return IntendedPayment(
            asset=assets[payment.token],
            recipient=payment.merchant,
            amount=payment.amount,
            terms_hash=payment.terms_hash,
        )
    if call.contract_id not in assets or call.function != TRANSFER:
        return None
    transfer = read_transfer_call(call.args)
    if transfer is None:
        return None
    return IntendedPayment(
        asset=assets[call.contract_id],
        sender=transfer.sender,
        recipient=transfer.recipient,
        amount=transfer.amount,
        memo=transfer.memo,
    )


def read_transfer_call(arguments: Sequence[bytes]) -> TransferCall | None:
    """Read the arguments of a token's ``transfer``."""
    match [read_value(argument) for argument in arguments]:
        case [UInt(amount), PrincipalValue(sender), PrincipalValue(recipient), NoneValue()]:
            memo = None
        case [UInt(amount), PrincipalValue(sender), PrincipalValue(recipient), Some(Buffer(memo))] if (
            len(memo) <= MEMO_BYTES
        ):
            pass
        case _:
            return None
    return TransferCall(amount=amount, sender=str(sender), recipient=str(recipient), memo=memo)


def read_payment_call(function: str, arguments: Sequence[bytes]) -> PaymentCall | None:
    """Read the arguments of the payment contract's ``pay-token`` or ``pay-stx``, and hash their terms."""
    values = [read_value(argument) for argument in arguments]
    token: str | None = None
    if function == PAY_TOKEN and values and isinstance(values[0], PrincipalValue):
        token, values = str(values[0].value), values[1:]
    elif function != PAY_STX:
        return None
    match values:
        case [PrincipalValue(merchant), UInt(amount), UInt(expires_at), Buffer(salt)]:
            try:
                digest = terms_hash(
                    amount=amount, expires_at=expires_at, merchant=str(merchant), salt=salt, token=token
                )
            except ValueError:
                # A short salt or an impossible principal: no intent has such terms.
                return None
            return PaymentCall(token=token, merchant=str(merchant), amount=amount, terms_hash=digest)
        case _:
            return None
