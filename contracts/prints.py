"""What the prints that matter say: the payment contract's, a token's memo, the peg registry's (pure).

Anyone may print anything, so these readers take bytes and answer None for whatever is not exactly the known shape.
*Which contract* printed is for the caller to check: without that, a print means nothing.
"""

from dataclasses import dataclass

from chain.clarity import (
    Buffer,
    ClarityError,
    NoneValue,
    PrincipalValue,
    Some,
    StringAscii,
    Tuple,
    UInt,
    Value,
    decode,
)
from chain.model import LONGEST_VALUE, MEMO_BYTES
from contracts.terms import TERMS_HASH_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPrint:
    """What ``{topic: "payment", version: u1, …}`` of the payment contract names."""

    #: The contract's ``intent-id``: 32 bytes that it computed from the terms itself.
    terms_hash: bytes
    merchant: str
    payer: str
    #: Contract id of the token, None for STX.
    token: str | None
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPrint:
    """What ``{topic: "refund", version: u1, …}`` of the payment contract names."""

    #: Of the payment that is given back: 32 bytes.
    terms_hash: bytes
    merchant: str
    #: Whoever had paid.
    to: str
    #: Contract id of the token, None for STX.
    token: str | None
    amount: int


def read_payment_print(data: bytes) -> PaymentPrint | None:
    """Read a payment's print. All eleven fields must be there, with their types, and no other."""
    match _entries(data):
        case {
            "topic": StringAscii("payment"),
            "version": UInt(1),
            "intent-id": Buffer(terms_hash),
            "merchant": PrincipalValue(merchant),
            "payer": PrincipalValue(payer),
            "token": (NoneValue() | Some(PrincipalValue())) as token,
            "amount": UInt(amount),
            "expires-at": UInt(),
            "stacks-height": UInt(),
            "burn-height": UInt(),
            "stacks-time": UInt(),
            **others,
        } if not others and len(terms_hash) == TERMS_HASH_BYTES:
            return PaymentPrint(
                terms_hash=terms_hash,
                merchant=str(merchant),
                payer=str(payer),
                token=_optional_principal(token),
                amount=amount,
            )
        case _:
            return None


def read_refund_print(data: bytes) -> RefundPrint | None:
    """Read a refund's print. All ten fields must be there, with their types, and no other."""
    match _entries(data):
        case {
            "topic": StringAscii("refund"),
            "version": UInt(1),
            "intent-id": Buffer(terms_hash),
            "merchant": PrincipalValue(merchant),
            "to": PrincipalValue(to),
            "token": (NoneValue() | Some(PrincipalValue())) as token,
            "amount": UInt(amount),
            "refunded-total": UInt(),
            "stacks-height": UInt(),
            "burn-height": UInt(),
            **others,
        } if not others and len(terms_hash) == TERMS_HASH_BYTES:
            return RefundPrint(
                terms_hash=terms_hash,
                merchant=str(merchant),
                to=str(to),
                token=_optional_principal(token),
                amount=amount,
            )
        case _:
            return None


def read_memo_print(data: bytes) -> bytes | None:
    """Read the memo that a token prints after a transfer: a bare buffer of at most 34 bytes."""
    match read_value(data):
        case Buffer(memo) if len(memo) <= MEMO_BYTES:
            return memo
        case _:
            return None


def is_completed_deposit(data: bytes) -> bool:
    """Say whether the peg registry's print is that of a completed deposit."""
    return _entries(data).get("topic") == StringAscii("completed-deposit")


def read_value(data: bytes) -> Value | None:
    """Decode bytes that anybody may have made: None if they are no value, or larger than any that we look for."""
    if len(data) > LONGEST_VALUE:
        return None
    try:
        return decode(data)
    except ClarityError:
        return None


def _optional_principal(value: Value) -> str | None:
    return (
        str(value.value.value)
        if isinstance(value, Some) and isinstance(value.value, PrincipalValue)
        else None
    )


def _entries(data: bytes) -> dict[str, Value]:
    value = read_value(data)
    return value.as_dict() if isinstance(value, Tuple) else {}
