"""Builders of a scripted chain's transactions, as sent by payers, merchants and attackers.

The same arguments give the same ``tx_id``; ``label`` enters the id and nothing else. Every builder takes the
keywords of :class:`Extra`; a status other than success leaves the events out, as the chain does.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Unpack

from chain.clarity import (
    Buffer,
    List,
    NoneValue,
    Ok,
    PrincipalValue,
    Some,
    StringAscii,
    Tuple,
    UInt,
    Value,
    encode,
)
from chain.model import MEMO_BYTES, STX
from chain.testing import events as ev
from chain.testing.events import Event
from chain.testing.principals import principal
from chain.testing.tx import (
    COINBASE,
    CONTRACT_CALL,
    SMART_CONTRACT,
    TENURE_CHANGE,
    TOKEN_TRANSFER,
    Extra,
    Tx,
    build,
)

#: sBTC on mainnet.
SBTC_CONTRACT = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
SBTC = f"{SBTC_CONTRACT}::sbtc-token"
#: The contract used by exchanges to send STX to many recipients at once on mainnet.
SEND_MANY_MEMO = "SP3FBR2AGK5H9QBDH3EEN6DF8EK8JY7RX8QJ5SVTE.send-many-memo"


def with_events(tx: Tx, events: Iterable[Event]) -> Tx:
    """Return the transaction (same id) with other events, as a contract may emit on another fork."""
    return replace(tx, events=tuple(events))


def with_amount(tx: Tx, amount: int) -> Tx:
    """Return the transaction (same id) with ``amount`` in all of its transfers."""
    moved = tuple(replace(e, amount=amount) if e.action == "transfer" else e for e in tx.events)
    if tx.transfer is None:
        return replace(tx, events=moved)
    recipient, _, memo = tx.transfer
    return replace(tx, events=moved, transfer=(recipient, amount, memo))


def stx_transfer(sender: str, recipient: str, amount: int, memo: bytes = b"", **extra: Unpack[Extra]) -> Tx:
    """A plain STX transfer. The chain pads its memo with zeros to 34 bytes."""
    padded = memo.ljust(MEMO_BYTES, b"\0")
    if len(padded) > MEMO_BYTES:
        raise ValueError(f"an STX memo has at most {MEMO_BYTES} bytes, not {len(memo)}")
    return build(
        TOKEN_TRANSFER,
        sender,
        [ev.stx_transfer(sender, recipient, amount, padded)],
        extra,
        transfer=(recipient, amount, padded),
    )


def sbtc_transfer(
    sender: str,
    recipient: str,
    amount: int,
    memo: bytes | None = None,
    *,
    asset: str = SBTC,
    prints_memo: bool = True,
    **extra: Unpack[Extra],
) -> Tx:
    """A direct ``transfer`` call of a SIP-010 token (sBTC): the transfer, then a print of the memo, if any.

    ``prints_memo=False`` is a token that does not print its memo, which is then in the fourth argument only.
    """
    contract = ev.contract_of(asset)
    events = [ev.ft_transfer(asset, sender, recipient, amount)]
    if memo is not None and prints_memo:
        events.append(ev.contract_print(contract, Buffer(memo)))
    args: list[Value] = [UInt(amount), _principal(sender), _principal(recipient), _optional_buffer(memo)]
    return call(contract, "transfer", sender, args, events, **extra)


def token_transfer_many(
    sender: str,
    payments: Sequence[tuple[str, int, bytes | None]],
    *,
    asset: str = SBTC,
    **extra: Unpack[Extra],
) -> Tx:
    """A ``transfer-many`` of (recipient, amount, memo); each memo is printed right after its transfer."""
    contract = ev.contract_of(asset)
    events: list[Event] = []
    entries = []
    for recipient, amount, memo in payments:
        events.append(ev.ft_transfer(asset, sender, recipient, amount))
        if memo is not None:
            events.append(ev.contract_print(contract, Buffer(memo)))
        entries.append(
            Tuple.of(
                {
                    "amount": UInt(amount),
                    "memo": _optional_buffer(memo),
                    "sender": _principal(sender),
                    "to": _principal(recipient),
                }
            )
        )
    extra.setdefault("result", encode(Ok(UInt(len(payments)))))
    return call(contract, "transfer-many", sender, [List(tuple(entries))], events, **extra)


def stx_send_many(
    sender: str,
    payments: Sequence[tuple[str, int, bytes]],
    *,
    router: str = SEND_MANY_MEMO,
    **extra: Unpack[Extra],
) -> Tx:
    """STX through ``send-many-memo``: each a transfer without memo, then the router's print of the memo."""
    events: list[Event] = []
    entries = []
    for recipient, amount, memo in payments:
        events += [ev.stx_transfer(sender, recipient, amount), ev.contract_print(router, Buffer(memo))]
        entries.append(Tuple.of({"memo": Buffer(memo), "to": _principal(recipient), "ustx": UInt(amount)}))
    return call(router, "send-many", sender, [List(tuple(entries))], events, **extra)


def fake_token(
    sender: str,
    recipient: str,
    amount: int,
    memo: bytes | None = None,
    *,
    deployer: str | None = None,
    **extra: Unpack[Extra],
) -> Tx:
    """A transfer of a look-alike token that calls itself ``sbtc-token`` and prints the memo as sBTC does."""
    asset = f"{deployer or principal('fake-token deployer')}.fake-token::sbtc-token"
    return sbtc_transfer(sender, recipient, amount, memo, asset=asset, **extra)


def terms_hash(
    *, amount: int, expires_at: int, merchant: str, salt: bytes, asset: str | None = SBTC
) -> bytes:
    """The payment contract's intent id: SHA-256 of the terms' consensus bytes; ``asset`` None is STX too."""
    terms: dict[str, Value] = {
        "amount": UInt(amount),
        "expires-at": UInt(expires_at),
        "merchant": _principal(merchant),
        "salt": Buffer(salt),
        "token": _token(asset),
    }
    return hashlib.sha256(encode(Tuple.of(terms))).digest()


def contract_payment(
    payment_contract: str,
    payer: str,
    merchant: str,
    amount: int,
    *,
    expires_at: int,
    salt: bytes,
    asset: str | None = SBTC,
    intent_id: bytes | None = None,
    stacks_height: int = 0,
    burn_height: int = 0,
    stacks_time: int = 0,
    **extra: Unpack[Extra],
) -> Tx:
    """A payment through the payment contract: its print, and the transfer with the terms hash as its memo.

    ``asset`` None or "STX" calls ``pay-stx``, else ``pay-token`` with the asset's contract. ``intent_id``
    (the terms hash) is computed from the terms unless given. The three heights and times only fill the print.
    """
    intent = intent_id
    if intent is None:
        intent = terms_hash(amount=amount, expires_at=expires_at, merchant=merchant, salt=salt, asset=asset)
    printed = Tuple.of(
        {
            "topic": StringAscii("payment"),
            "version": UInt(1),
            "intent-id": Buffer(intent),
            "merchant": _principal(merchant),
            "payer": _principal(payer),
            "token": _token(asset),
            "amount": UInt(amount),
            "expires-at": UInt(expires_at),
            "stacks-height": UInt(stacks_height),
            "burn-height": UInt(burn_height),
            "stacks-time": UInt(stacks_time),
        }
    )
    events = [ev.contract_print(payment_contract, printed)]
    args: list[Value] = [_principal(merchant), UInt(amount), UInt(expires_at), Buffer(salt)]
    if asset is None or asset == STX:
        function = "pay-stx"
        events.append(ev.stx_transfer(payer, merchant, amount, intent))
    else:
        function = "pay-token"
        contract = ev.contract_of(asset)
        events.append(ev.ft_transfer(asset, payer, merchant, amount))
        events.append(ev.contract_print(contract, Buffer(intent)))
        args.insert(0, _principal(contract))
    extra.setdefault("result", encode(Ok(Buffer(intent))))
    return call(payment_contract, function, payer, args, events, **extra)


def contract_refund(
    payment_contract: str,
    merchant: str,
    payer: str,
    amount: int,
    *,
    intent_id: bytes,
    asset: str | None = SBTC,
    refunded_total: int | None = None,
    stacks_height: int = 0,
    burn_height: int = 0,
    **extra: Unpack[Extra],
) -> Tx:
    """A refund through the payment contract: its print, and the transfer with the terms hash as its memo.

    ``asset`` None or "STX" calls ``refund-stx``, else ``refund-token``. The last three numbers only fill the
    print.
    """
    printed = Tuple.of(
        {
            "topic": StringAscii("refund"),
            "version": UInt(1),
            "intent-id": Buffer(intent_id),
            "merchant": _principal(merchant),
            "to": _principal(payer),
            "token": _token(asset),
            "amount": UInt(amount),
            "refunded-total": UInt(amount if refunded_total is None else refunded_total),
            "stacks-height": UInt(stacks_height),
            "burn-height": UInt(burn_height),
        }
    )
    events = [ev.contract_print(payment_contract, printed)]
    args: list[Value] = [Buffer(intent_id), UInt(amount)]
    if asset is None or asset == STX:
        function = "refund-stx"
        events.append(ev.stx_transfer(merchant, payer, amount, intent_id))
    else:
        function = "refund-token"
        contract = ev.contract_of(asset)
        events.append(ev.ft_transfer(asset, merchant, payer, amount))
        events.append(ev.contract_print(contract, Buffer(intent_id)))
        args.insert(0, _principal(contract))
    extra.setdefault("result", encode(Ok(UInt(amount if refunded_total is None else refunded_total))))
    return call(payment_contract, function, merchant, args, events, **extra)


def peg_in(
    recipient: str, amount: int, *, asset: str = SBTC, txid: bytes | None = None, **extra: Unpack[Extra]
) -> Tx:
    """A completed sBTC deposit: a mint to ``recipient`` and the registry's ``completed-deposit`` print."""
    deployer = ev.contract_of(asset).split(".")[0]
    txid = (
        txid
        if txid is not None
        else hashlib.sha256(f"{recipient}/{amount}/{extra.get('label', '')}".encode()).digest()
    )
    printed = Tuple.of(
        {
            "topic": StringAscii("completed-deposit"),
            "bitcoin-txid": Buffer(txid),
            "output-index": UInt(0),
            "amount": UInt(amount),
            "burn-hash": Buffer(hashlib.sha256(b"burn" + txid).digest()),
            "burn-height": UInt(900_000),
            "sweep-txid": Buffer(hashlib.sha256(b"sweep" + txid).digest()),
        }
    )
    events = [ev.ft_mint(asset, recipient, amount), ev.contract_print(f"{deployer}.sbtc-registry", printed)]
    args: list[Value] = [Buffer(txid), UInt(0), UInt(amount), _principal(recipient)]
    return call(f"{deployer}.sbtc-deposit", "complete-deposit-wrapper", deployer, args, events, **extra)


def call(
    contract_id: str,
    function: str,
    sender: str,
    args: Sequence[Value | bytes] = (),
    events: Iterable[Event] = (),
    **extra: Unpack[Extra],
) -> Tx:
    """Any contract call with any events: a router, a wallet, an attacker. Events need a successful status."""
    return build(
        CONTRACT_CALL,
        sender,
        events,
        extra,
        contract_id=contract_id,
        function=function,
        args=tuple(map(ev.to_bytes, args)),
    )


def deploy(contract_id: str, events: Iterable[Event] = (), **extra: Unpack[Extra]) -> Tx:
    """A contract deployment; its top-level code may emit events."""
    return build(SMART_CONTRACT, contract_id.split(".")[0], events, extra, contract_id=contract_id)


def coinbase(label: str) -> Tx:
    """A miner's coinbase."""
    return build(COINBASE, principal("miner"), (), {"label": label, "fee": 0})


def tenure_change(label: str, cause: str = "block_found") -> Tx:
    """The start (``block_found``) or extension (``extended``) of a tenure."""
    return build(TENURE_CHANGE, principal("miner"), (), {"label": label, "fee": 0}, cause=cause)


def _optional_buffer(memo: bytes | None) -> Value:
    return NoneValue() if memo is None else Some(Buffer(memo))


def _token(asset: str | None) -> Value:
    return NoneValue() if asset is None or asset == STX else Some(_principal(ev.contract_of(asset)))


@lru_cache(maxsize=4096)
def _principal(text: str) -> PrincipalValue:
    return PrincipalValue.parse(text)
