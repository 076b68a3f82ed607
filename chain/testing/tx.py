"""A scripted transaction, with its outcome when mined.

A :class:`Tx` is a value: the same contents give the same ``tx_id``.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

from chain.clarity import Bool, Err, Ok, UInt, encode
from chain.model import TxStatus
from chain.testing.events import Event
from chain.testing.raw import raw_transaction, transaction_id

OK_TRUE = encode(Ok(Bool(True)))
ERR_U1 = encode(Err(UInt(1)))

TOKEN_TRANSFER = "token_transfer"  # noqa: S105 (a transaction type)
CONTRACT_CALL = "contract_call"
SMART_CONTRACT = "smart_contract"
COINBASE = "coinbase"
TENURE_CHANGE = "tenure_change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tx:
    """A signed transaction together with its outcome when mined. Equal contents give an equal ``tx_id``."""

    tx_id: str
    sender: str
    kind: str
    #: A status in the API's spelling; strings outside :class:`TxStatus` are served unchanged.
    status: str = TxStatus.SUCCESS
    #: None: derived from the id. Of two pending transactions with one nonce, the higher fee replaces the
    #: other.
    nonce: int | None = None
    fee: int = 500
    events: tuple[Event, ...] = ()
    #: ``token_transfer``: recipient, amount, the 34 memo bytes.
    transfer: tuple[str, int, bytes] | None = None
    contract_id: str | None = None
    function: str | None = None
    #: Consensus bytes by position.
    args: tuple[bytes, ...] = ()
    #: Names of ``args`` as served; the real server often has none and sends "".
    arg_names: tuple[str, ...] = ()
    #: Result of the call: consensus bytes.
    result: bytes = OK_TRUE
    vm_error: str | None = None
    #: ``tenure_change``: ``block_found`` or ``extended``.
    cause: str | None = None
    #: The signed bytes; empty for what no wallet could sign.
    raw: bytes = field(default=b"", repr=False)

    @property
    def shown_nonce(self) -> int:
        """The nonce as served."""
        return int(self.tx_id[2:8], 16) if self.nonce is None else self.nonce

    @property
    def is_system(self) -> bool:
        """Whether its block's miner made it: such transactions are never in the mempool."""
        return self.kind in (COINBASE, TENURE_CHANGE)

    @property
    def participants(self) -> frozenset[str]:
        """All principals in the transaction: those that get an ``address_tx_update``."""
        named = {self.sender, self.contract_id} | {p for event in self.events for p in event.principals}
        if self.transfer is not None:
            named.add(self.transfer[0])
        return frozenset(p for p in named if p)

    def failed(self, status: str = TxStatus.ABORT_BY_RESPONSE, *, result: bytes | None = None) -> "Tx":
        """Return it (same id) with a failure: no events, ``(err u1)`` unless ``result`` is given."""
        if result is None:
            result = ERR_U1 if status == TxStatus.ABORT_BY_RESPONSE else OK_TRUE
        return replace(self, status=status, events=(), result=result)


class Extra(TypedDict, total=False):
    """Keyword arguments of every builder."""

    status: str
    label: str
    nonce: int | None
    fee: int
    result: bytes
    vm_error: str | None
    arg_names: Sequence[str]


def build(kind: str, sender: str, events: Iterable[Event], extra: Extra, **fields: Any) -> Tx:
    """Make a transaction of a kind; ``fields`` are those of :class:`Tx` that the kind has."""
    label, nonce, fee = extra.get("label", ""), extra.get("nonce"), extra.get("fee", 500)
    events = tuple(events)
    status = extra.get("status", TxStatus.SUCCESS)
    # The id commits to the signed contents and the label, not to the outcome.
    contents = repr((kind, sender, label, nonce, fee, events, sorted(fields.items()))).encode()
    signed = {name: value for name, value in fields.items() if name != "cause"}
    try:
        raw = raw_transaction(kind, sender, contents, nonce=nonce or 0, fee=fee, **signed)
        tx_id = transaction_id(raw)
    except ValueError:
        raw, tx_id = b"", "0x" + hashlib.sha256(contents).hexdigest()
    tx = Tx(
        tx_id=tx_id,
        raw=raw,
        sender=sender,
        kind=kind,
        nonce=nonce,
        fee=fee,
        events=events,
        result=extra.get("result", OK_TRUE),
        vm_error=extra.get("vm_error"),
        arg_names=tuple(extra.get("arg_names", ())),
        **fields,
    )
    if status == TxStatus.SUCCESS:
        return tx
    return tx.failed(status, result=extra.get("result"))
