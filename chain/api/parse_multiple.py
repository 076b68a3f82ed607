"""Parse and validate ``GET /extended/v1/tx/multiple`` (pure): transactions with windows of their events."""

from collections.abc import Mapping
from dataclasses import dataclass

from chain.api.parse import (
    STATUSES,
    TxDetail,
    argument,
    event_count,
    memo_bytes,
    unknown_words,
)
from chain.api.parse_fields import (
    Malformed,
    as_amount,
    as_asset,
    as_bytes,
    as_count,
    as_flag,
    as_hash,
    as_list,
    as_name,
    as_object,
    as_principal,
    as_text,
    shown,
)
from chain.model import (
    MAX_VALUE_BYTES,
    STX,
    ContractCall,
    Event,
    MintEvent,
    PrintEvent,
    TransferEvent,
    TxStatus,
    UnknownWord,
)


@dataclass(frozen=True, slots=True)
class Window:
    """A ``TxDetail`` with the ``events`` of one event window, and the ranks that the window covered."""

    detail: TxDetail
    ranks: tuple[int, ...]


def windows(body: object, *, tx_ids: frozenset[str], with_args: bool) -> dict[str, Window]:
    """Parse ``GET /extended/v1/tx/multiple``: one event window of each requested id, none missing."""
    fields = as_object(body, "answer")
    if fields.keys() != tx_ids:
        raise Malformed(f"asked for {len(tx_ids)} transactions, the answer names {len(fields)} or others")
    return {tx_id: _window(tx_id, entry, with_args=with_args) for tx_id, entry in fields.items()}


def _window(tx_id: str, entry: object, *, with_args: bool) -> Window:
    wrapper = as_object(entry, tx_id)
    if wrapper.get("found") is not True:
        return Window(TxDetail(tx_id=tx_id, found=False), ())
    tx = as_object(wrapper.get("result"), "result")
    if tx.get("tx_id") != tx_id:
        raise Malformed(f"the entry of {tx_id} holds {shown(tx.get('tx_id'))}")
    raw_status = as_text(tx.get("tx_status"), "tx_status")
    call = _call(tx, with_args=with_args)
    if tx.get("block_hash") is None:
        # Pending or dropped: mempool objects have no block and no events.
        return Window(TxDetail(tx_id=tx_id, found=True, raw_status=raw_status, call=call), ())
    rows = [as_object(row, "event") for row in as_list(tx.get("events"), "events")]
    ranks = tuple(as_count(row.get("event_index"), "event_index") for row in rows)
    events = [
        event for rank, row in zip(ranks, rows, strict=True) if (event := _event(rank, row)) is not None
    ]
    count = event_count(tx.get("event_count")) or as_count(tx.get("event_count"), "event_count")
    detail = TxDetail(
        tx_id=tx_id,
        found=True,
        status=STATUSES.get(raw_status, TxStatus.UNKNOWN),
        raw_status=raw_status,
        # A row of a forked microblock (before Nakamoto) is listed in a canonical block and does not count.
        canonical=as_flag(tx.get("canonical"), "canonical") and tx.get("microblock_canonical") is not False,
        block_hash=as_hash(tx.get("block_hash"), "block_hash"),
        block_height=as_count(tx.get("block_height"), "block_height"),
        event_count=count,
        events=tuple(events),
        call=call,
        unknown=unknown_words(("status", raw_status)).union(*map(_unknown_of_event, rows)),
    )
    return Window(detail, ranks)


def _call(tx: Mapping[str, object], *, with_args: bool) -> ContractCall | None:
    if tx.get("tx_type") != "contract_call":
        return None
    payload = as_object(tx.get("contract_call"), "contract_call")
    args: tuple[bytes, ...] | None = None
    if with_args:
        # Names and types are empty when the API lacks the contract's interface; only the position counts.
        listed = as_list(payload.get("function_args") or [], "function_args")
        args = tuple(
            argument(as_bytes(as_object(one, "argument").get("hex"), "argument.hex")) for one in listed
        )
    return ContractCall(
        contract_id=as_principal(payload.get("contract_id"), "contract_call.contract_id"),
        function=as_name(payload.get("function_name"), "contract_call.function_name"),
        args=args,
    )


def _unknown_of_event(row: Mapping[str, object]) -> frozenset[UnknownWord]:
    kind = row.get("event_type")
    words: list[tuple[str, object]] = [("event_type", kind)]
    inner = row.get("contract_log" if kind == "smart_contract_log" else "asset")
    if isinstance(inner, dict) and kind == "smart_contract_log":
        words.append(("topic", inner.get("topic")))
    elif isinstance(inner, dict) and kind in ("fungible_token_asset", "stx_asset"):
        words.append(("asset_event_type", inner.get("asset_event_type")))
    return unknown_words(*words)


def _event(rank: int, row: Mapping[str, object]) -> Event | None:
    kind = row.get("event_type")
    if kind == "smart_contract_log":
        log = as_object(row.get("contract_log"), "contract_log")
        if log.get("topic") != "print":
            return None
        value = as_object(log.get("value"), "contract_log.value")
        printed = as_bytes(value.get("hex"), "contract_log.value.hex")
        contract_id = as_principal(log.get("contract_id"), "contract_log.contract_id")
        if len(printed) > MAX_VALUE_BYTES:
            return None
        return PrintEvent(rank=rank, contract_id=contract_id, value=printed)
    if kind not in ("fungible_token_asset", "stx_asset"):
        return None
    asset = as_object(row.get("asset"), "asset")
    fungible = kind == "fungible_token_asset"
    match asset.get("asset_event_type"):
        case "transfer":
            return TransferEvent(
                rank=rank,
                asset=as_asset(asset.get("asset_id"), "asset.asset_id") if fungible else STX,
                sender=as_principal(asset.get("sender"), "asset.sender"),
                recipient=as_principal(asset.get("recipient"), "asset.recipient"),
                amount=as_amount(asset.get("amount"), "asset.amount"),
                memo=None if fungible else _v1_memo(asset.get("memo")),
            )
        case "mint" if fungible:
            return MintEvent(
                rank=rank,
                asset=as_asset(asset.get("asset_id"), "asset.asset_id"),
                recipient=as_principal(asset.get("recipient"), "asset.recipient"),
                amount=as_amount(asset.get("amount"), "asset.amount"),
            )
    return None


def _v1_memo(value: object) -> bytes | None:
    # v1 leaves the field out, or sends "" or "0x", when there is no memo.
    return None if value in (None, "", "0x") else memo_bytes(as_bytes(value, "asset.memo"))
