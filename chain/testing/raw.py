"""Serialize a scripted chain's transactions as wallets sign them, except that the signature is made up."""

import hashlib
from collections.abc import Sequence

from chain.address import AddressError, Principal, parse_principal
from chain.clarity import PrincipalValue, encode

_MAINNET_CHAIN, _TESTNET_CHAIN = 1, 0x80000000
#: Versions of addresses with one key.
_SINGLE_SIGNER = (22, 26)
_SIGNATURE_BYTES = 65


def raw_transaction(
    kind: str,
    sender: str,
    salt: bytes,
    *,
    nonce: int = 0,
    fee: int = 500,
    transfer: tuple[str, int, bytes] | None = None,
    contract_id: str | None = None,
    function: str | None = None,
    args: Sequence[bytes] = (),
    post_conditions: Sequence[bytes] = (),
    sponsor: str | None = None,
) -> bytes:
    """Return the bytes of a transaction; ``salt`` enters the signature, and so the id.

    Raises ValueError for what no transaction can hold: a sender that is no address, a fee of 2^64.
    """
    principal = _standard(sender)
    out = bytearray()
    out += b"\x00" if principal.is_mainnet else b"\x80"
    out += (_MAINNET_CHAIN if principal.is_mainnet else _TESTNET_CHAIN).to_bytes(4, "big")
    out.append(0x04 if sponsor is None else 0x05)
    out += _signer(principal, nonce, fee, salt)
    if sponsor is not None:
        out += _signer(_standard(sponsor), 0, fee, salt)
    out += b"\x03\x02" + len(post_conditions).to_bytes(4, "big") + b"".join(post_conditions)
    out += _payload(kind, transfer, contract_id, function, args)
    return bytes(out)


def transaction_id(raw: bytes) -> str:
    """Return a transaction's id."""
    return "0x" + hashlib.new("sha512_256", raw).hexdigest()


def _standard(text: str) -> Principal:
    principal = parse_principal(text)
    if principal.name is not None:
        raise AddressError(f"{text} is a contract, which signs nothing")
    return principal


def _signer(principal: Principal, nonce: int, fee: int, salt: bytes) -> bytes:
    signature = hashlib.sha512(salt).digest() + b"\x00"
    common = principal.hash160 + _number(nonce, 8) + _number(fee, 8)
    if principal.version in _SINGLE_SIGNER:
        return b"\x00" + common + b"\x00" + signature
    # One signature of a multi-signature address.
    return b"\x01" + common + b"\x00\x00\x00\x01\x02" + signature + b"\x00\x01"


def _payload(
    kind: str,
    transfer: tuple[str, int, bytes] | None,
    contract_id: str | None,
    function: str | None,
    args: Sequence[bytes],
) -> bytes:
    if kind == "token_transfer":
        assert transfer is not None
        recipient, amount, memo = transfer
        return b"\x00" + encode(PrincipalValue.parse(recipient)) + _number(amount, 8) + memo
    if kind == "contract_call":
        assert contract_id is not None
        assert function is not None
        contract = parse_principal(contract_id)
        listed = len(args).to_bytes(4, "big") + b"".join(args)
        address = bytes((contract.version,)) + contract.hash160
        return b"\x02" + address + _name(contract.name or "") + _name(function) + listed
    if kind == "smart_contract":
        assert contract_id is not None
        source = b"(ok true)"
        name = _name(parse_principal(contract_id).name or "")
        return b"\x06\x04" + name + len(source).to_bytes(4, "big") + source
    return {"coinbase": b"\x04" + bytes(32), "tenure_change": b"\x07" + bytes(137)}[kind]


def _number(value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise ValueError(f"{value} does not fit into {size} bytes") from None


def _name(text: str) -> bytes:
    data = text.encode("ascii")
    return bytes((len(data),)) + data
