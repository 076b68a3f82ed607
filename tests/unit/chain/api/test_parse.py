"""JSON to model: what is accepted, what is Malformed; chain data is never an error."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api import parse as parser
from chain.api import parse_multiple
from chain.api.parse_fields import MAX_TIME, Malformed
from chain.model import (
    MAX_AMOUNT,
    MAX_VALUE_BYTES,
    STX,
    MintEvent,
    PrintEvent,
    TransferEvent,
    TxStatus,
    UnknownWord,
)

DATA = Path(__file__).parents[3] / "data" / "stacks-api"
HASH = "0x" + "1a" * 32
GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def body_of(name):
    return json.loads((DATA / f"{name}.json").read_text())["body"]


def mined(events=(), **changes):
    tx = {
        "tx_id": HASH,
        "tx_status": "success",
        "tx_type": "contract_call",
        "contract_call": {
            "contract_id": "SP.c",
            "function_name": "f",
            "function_args": [{"hex": "0x03", "name": ""}],
        },
        "canonical": True,
        "block_hash": HASH,
        "block_height": 4,
        "event_count": len(events),
        "events": list(events),
    }
    return {HASH: {"found": True, "result": tx | changes}}


def read(body, *, with_args=False):
    return parse_multiple.windows(body, tx_ids=frozenset([HASH]), with_args=with_args)[HASH]


def ft(kind="transfer", **changes):
    asset = {
        "asset_event_type": kind,
        "asset_id": "SP.t::t",
        "sender": "SPA",
        "recipient": "SPB",
        "amount": "5",
    }
    return {"event_index": 0, "event_type": "fungible_token_asset", "asset": asset | changes}


def stx(kind="transfer", **changes):
    asset = {"asset_event_type": kind, "sender": "SPA", "recipient": "SPB", "amount": "5"}
    return {"event_index": 0, "event_type": "stx_asset", "asset": asset | changes}


def log(value, topic="print"):
    entry = {"contract_id": "SP.c", "topic": topic, "value": {"hex": value, "repr": "\udcff\x00"}}
    return {"event_index": 0, "event_type": "smart_contract_log", "contract_log": entry}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("stacks-blockchain-api v9.0.2 (main:759c4a586)", (9, 0, 2)),
        ("stacks-blockchain-api v10.1.0-beta.3 (x:y)", (10, 1, 0)),
        ("9.3.0", (9, 3, 0)),
        ("stacks-blockchain-api dev", None),
        ("", None),
    ],
)
def test_a_version_is_the_first_three_numbers(text, version):
    assert parser.parse_version(text) == version


def test_an_empty_database_has_no_tip():
    status = parser.status({"server_version": "v9.0.2", "status": "ready"})
    assert (status.tip_height, status.tip_hash, status.tip_burn_height) == (None, None, None)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"network_id": 1}, 1),
        ({"network_id": 2147483648}, 2147483648),
        ({"network_id": True}, None),
        ({}, None),
        ([], None),
    ],
)
def test_a_network_id_is_a_number_or_unknown(body, found):
    assert parser.network_id(body) == found


@pytest.mark.parametrize("amount", ["0", "1", str(MAX_AMOUNT)])
def test_amounts_from_0_to_2_128_minus_1_are_exact(amount):
    assert read(mined([ft(amount=amount)])).detail.events[0].amount == int(amount)


@pytest.mark.parametrize(
    "amount",
    [str(MAX_AMOUNT + 1), "-1", "+1", "1.0", "1e3", "", " 1", "1_0", "٣", "²", "0" * 40, 5, 5.0, None, True],
)
def test_other_amounts_are_malformed(amount):
    with pytest.raises(Malformed, match="amount"):
        read(mined([ft(amount=amount)]))


@pytest.mark.parametrize(
    "bad", ["", "0x", HASH.upper(), HASH[2:], HASH + "00", HASH + "\n", "0x" + "g" * 64, None, 7]
)
def test_hashes_are_66_lower_case_characters(bad):
    with pytest.raises(Malformed):
        parser.header(body_of("v2-block-by-height") | {"index_block_hash": bad})


@pytest.mark.parametrize("bad", [-1, 1.0, "4", None, True, 2**53 + 1, 10**400])
def test_heights_are_whole_numbers(bad):
    with pytest.raises(Malformed, match="height"):
        parser.header(body_of("v2-block-by-height") | {"height": bad})


@pytest.mark.parametrize("field", ["block_time", "burn_block_time"])
@pytest.mark.parametrize("bad", [MAX_TIME + 1, 2**53, -1, "1760000000", None])
def test_times_are_before_the_year_10000(field, bad):
    body = body_of("v2-block-by-height")
    with pytest.raises(Malformed, match=field):
        parser.header(body | {field: bad})
    parser.header(body | {"block_time": MAX_TIME, field: MAX_TIME})
    assert datetime.fromtimestamp(MAX_TIME, UTC).year == 9999


def test_a_block_is_not_older_than_its_bitcoin_block_by_a_day():
    """Clocks of miners differ by hours; a block of the year 1970 would be older than every intent."""
    body = body_of("v2-block-by-height")
    parser.header(body | {"block_time": 100_000, "burn_block_time": 186_400})
    with pytest.raises(Malformed, match="a day before"):
        parser.header(body | {"block_time": 100_000, "burn_block_time": 186_401})


def test_a_transaction_has_the_time_of_a_block():
    page = body_of("v3-transactions")
    page["results"][0]["block"]["time"] = MAX_TIME + 1
    with pytest.raises(Malformed, match=r"block\.time"):
        parser.tx_page(page, limit=50)


@pytest.mark.parametrize("bad", ["\ud800", "a\x00b", "\n", "a\u200b", "\x7f"])
def test_texts_that_cannot_be_printed_or_stored_are_malformed(bad):
    page = body_of("v3-transactions")
    page["results"][0]["sender"]["address"] = bad
    with pytest.raises(Malformed, match=r"sender\.address .* printable"):
        parser.tx_page(page, limit=50)
    for event in (ft(sender=bad), ft(recipient=bad), ft(asset_id=bad), stx(recipient=bad)):
        with pytest.raises(Malformed, match="printable"):
            read(mined([event]))
    with pytest.raises(Malformed, match="printable"):
        read(mined(contract_call={"contract_id": "SP.c", "function_name": bad}))


@pytest.mark.parametrize("value", ["0x0", "0xzz", "03", "", None, "0x03 03", 3])
def test_a_printed_value_must_be_whole_bytes(value):
    with pytest.raises(Malformed, match="hex"):
        read(mined([log(value)]))


def test_a_printed_value_is_kept_as_bytes_whatever_it_says():
    """Neither the repr nor the Clarity type is read."""
    window = read(mined([log("0x" + "ff" * MAX_VALUE_BYTES)]))
    assert window.detail.events == (PrintEvent(rank=0, contract_id="SP.c", value=b"\xff" * MAX_VALUE_BYTES),)


def test_a_print_larger_than_anything_that_is_read_is_left_out_but_its_rank_counts():
    """A printed megabyte is not kept in memory."""
    window = read(mined([log("0x" + "ff" * (MAX_VALUE_BYTES + 1)), ft() | {"event_index": 1}]))
    assert [event.rank for event in window.detail.events] == [1]
    assert window.ranks == (0, 1)


def test_transfers_and_mints_are_read():
    events = [ft(), ft("mint", sender=""), stx(memo="0x4142"), stx(), stx(memo=""), stx(memo="0x")]
    for rank, event in enumerate(events):
        event["event_index"] = rank
    assert read(mined(events)).detail.events == (
        TransferEvent(rank=0, asset="SP.t::t", sender="SPA", recipient="SPB", amount=5),
        MintEvent(rank=1, asset="SP.t::t", recipient="SPB", amount=5),
        TransferEvent(rank=2, asset=STX, sender="SPA", recipient="SPB", amount=5, memo=b"AB"),
        TransferEvent(rank=3, asset=STX, sender="SPA", recipient="SPB", amount=5),
        TransferEvent(rank=4, asset=STX, sender="SPA", recipient="SPB", amount=5),
        TransferEvent(rank=5, asset=STX, sender="SPA", recipient="SPB", amount=5),
    )


@pytest.mark.parametrize(
    "other",
    [
        ft("burn", recipient=""),
        ft("rebase"),
        stx("mint", sender=""),
        stx("burn"),
        log("0x03", topic="log"),
        {
            "event_index": 0,
            "event_type": "non_fungible_token_asset",
            "asset": {"asset_event_type": "transfer"},
        },
        {"event_index": 0, "event_type": "stx_lock", "stx_lock_event": {}},
        {"event_index": 0, "event_type": "something_new"},
    ],
)
def test_other_events_are_left_out_but_their_rank_counts(other):
    window = read(mined([other, ft() | {"event_index": 1}]))
    assert [event.rank for event in window.detail.events] == [1]
    assert window.ranks == (0, 1)
    assert window.detail.event_count == 2


def test_an_unknown_status_is_unknown_and_keeps_its_text():
    detail = read(mined(tx_status="partly_done")).detail
    assert (detail.status, detail.raw_status) == (TxStatus.UNKNOWN, "partly_done")


def test_a_forked_microblock_row_is_not_canonical():
    assert not read(mined(microblock_canonical=False)).detail.canonical
    assert not read(mined(canonical=False)).detail.canonical
    assert read(mined(microblock_canonical=True)).detail.canonical


def test_arguments_are_read_by_position_and_only_when_asked_for():
    assert read(mined()).detail.call.args is None
    assert read(mined(), with_args=True).detail.call.args == (b"\x03",)
    assert (
        read(
            mined(contract_call={"contract_id": "SP.c", "function_name": "f"}), with_args=True
        ).detail.call.args
        == ()
    )
    assert read(mined(tx_type="smart_contract")).detail.call is None


def test_an_entry_that_holds_another_transaction_is_malformed():
    with pytest.raises(Malformed, match="holds"):
        read(mined(tx_id="0x" + "2b" * 32))


def test_a_summary_of_an_unknown_kind_is_read_without_its_payload():
    page = body_of("v3-transactions")
    page["results"][0] |= {"type": "something_new", "status": "weird"}
    row = parser.tx_page(page, limit=50).results[0]
    assert (row.kind, row.status, row.transfer, row.contract_id) == (
        "something_new",
        TxStatus.UNKNOWN,
        None,
        None,
    )


def test_a_deployed_contract_is_named():
    page = body_of("v3-transactions")
    page["results"][0] |= {
        "type": "smart_contract",
        "smart_contract": {"contract_id": "SP.new", "clarity_version": 4},
    }
    row = parser.tx_page(page, limit=50).results[0]
    assert (row.contract_id, row.function) == ("SP.new", None)


def test_a_transfer_without_memo_has_none():
    page = body_of("v3-transactions")
    transfer = {"recipient": "SPB", "amount": "7", "memo": None}
    page["results"][0] |= {"type": "token_transfer", "token_transfer": transfer}
    assert parser.tx_page(page, limit=50).results[0].transfer.memo is None


def test_more_headers_than_asked_for_are_malformed():
    with pytest.raises(Malformed, match="3 rows"):
        parser.headers(body_of("v2-blocks"), limit=2)


def test_a_block_that_is_not_canonical_is_none_and_malformed_in_a_list():
    orphaned = body_of("v2-block-by-height") | {"canonical": False}
    assert parser.header(orphaned) is None
    with pytest.raises(Malformed, match="not canonical"):
        parser.headers({"results": [orphaned]}, limit=2)


def test_messages_stay_short_whatever_came():
    with pytest.raises(Malformed) as caught:
        parser.header(body_of("v2-block-by-height") | {"hash": "x" * 10**6})
    assert len(str(caught.value)) < 300
    with pytest.raises(Malformed, match="at most 1024"):
        read(mined(tx_status="x" * 2000))


def _paths(value, path=()):
    """The path of every value in a document."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*path, index))


_HEADERS = body_of("v2-blocks")
_PAGE = body_of("v3-transactions")
_MULTIPLE = body_of("v1-tx-multiple")
_STATUS = body_of("status-v9")
_READERS = [
    (_HEADERS, lambda body: parser.headers(body, limit=30)),
    (_PAGE, lambda body: parser.tx_page(body, limit=50)),
    (_MULTIPLE, lambda body: parse_multiple.windows(body, tx_ids=frozenset(_MULTIPLE), with_args=True)),
    (_STATUS, parser.status),
]


@given(st.data(), st.sampled_from(_READERS), GARBAGE)
def test_any_value_anywhere_is_read_or_malformed(data, reader, garbage):
    """No answer, however odd, raises anything else."""
    document, parse = reader
    path = data.draw(st.sampled_from(list(_paths(document))))
    if not path:
        changed = garbage
    else:
        changed = copy.deepcopy(document)
        inner = changed
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = garbage
    try:
        parse(changed)
    except Malformed as error:
        assert str(error)  # noqa: PT017 - either outcome is right; only another exception is wrong


def test_more_transactions_than_asked_for_are_malformed():
    body = body_of("v3-transactions")
    with pytest.raises(Malformed, match="more than the 1 asked for"):
        parser.tx_page(body, limit=1)


@pytest.mark.parametrize("cursor", [7, "latest", "1:2", "1:2:3/../../status"])
def test_a_cursor_that_is_none_is_malformed(cursor):
    body = body_of("v3-transactions")
    body["cursor"]["next"] = cursor
    with pytest.raises(Malformed, match=r"cursor\.next"):
        parser.tx_page(body, limit=50)


def test_an_answer_about_other_transactions_than_asked_for_is_malformed():
    with pytest.raises(Malformed, match="asked for 1 transactions"):
        parse_multiple.windows({}, tx_ids=frozenset({"0x" + "ab" * 32}), with_args=False)


def test_a_transaction_that_is_not_found_has_nothing_else():
    tx_id = "0x" + "ab" * 32
    found = parse_multiple.windows({tx_id: {"found": False}}, tx_ids=frozenset({tx_id}), with_args=False)[
        tx_id
    ]
    assert not found.detail.found
    assert found.detail.events == ()


def test_a_pending_transaction_has_no_block_and_no_events():
    detail = read(mined(tx_status="pending", block_hash=None)).detail
    assert (detail.found, detail.raw_status, detail.block_hash, detail.events) == (True, "pending", None, ())


@pytest.mark.parametrize("bad", [2**31, 2**40, -1, True, 1.0, "1"])
def test_what_goes_into_an_integer_column_fits_it(bad):
    """Heights, counts, indexes and ranks: larger values would make every database write fail."""
    for field in ("height", "burn_block_height", "tx_count"):
        with pytest.raises(Malformed, match=field):
            parser.header(body_of("v2-block-by-height") | {field: bad})
    page = body_of("v3-transactions")
    page["results"][0]["block"]["tx_index"] = bad
    with pytest.raises(Malformed, match=r"block\.tx_index"):
        parser.tx_page(page, limit=50)
    with pytest.raises(Malformed, match="event_index"):
        read(mined([ft() | {"event_index": bad}]))
    with pytest.raises(Malformed, match="event_count"):
        read(mined(event_count=bad))


def test_a_list_over_the_whole_chain_may_be_longer_than_any_block():
    page = body_of("v3-transactions") | {"total": 2**40}
    assert parser.tx_page(page, limit=50).total == 2**40


def test_more_events_than_a_block_can_pay_for_are_malformed():
    assert read(mined(event_count=parser.MAX_EVENTS)).detail.event_count == parser.MAX_EVENTS
    with pytest.raises(Malformed, match="event_count"):
        read(mined(event_count=parser.MAX_EVENTS + 1))


PRINCIPAL = "S" * 41 + "." + "c" * 128
NAME = "n" * 128


def test_names_may_be_as_long_as_the_chain_allows():
    asset = f"{PRINCIPAL}::{NAME}"
    event = ft(asset_id=asset, sender=PRINCIPAL, recipient=PRINCIPAL)
    call = {"contract_id": PRINCIPAL, "function_name": NAME}
    detail = read(mined([event], contract_call=call)).detail
    assert detail.events == (
        TransferEvent(rank=0, asset=asset, sender=PRINCIPAL, recipient=PRINCIPAL, amount=5),
    )
    assert detail.call.function == NAME


@pytest.mark.parametrize("more", ["x", "é"])
def test_longer_names_are_malformed(more):
    """Names that are not ASCII too: the chain has none."""
    for event in (
        ft(asset_id=f"{PRINCIPAL}::{NAME}{more}"),
        ft(sender=PRINCIPAL + more),
        ft(recipient=PRINCIPAL + more),
        ft("mint", recipient=PRINCIPAL + more),
        stx(sender=PRINCIPAL + more),
    ):
        with pytest.raises(Malformed, match="at most"):
            read(mined([event]))
    for call in (
        {"contract_id": PRINCIPAL + more, "function_name": "f"},
        {"contract_id": "SP.c", "function_name": NAME + more},
    ):
        with pytest.raises(Malformed, match="at most"):
            read(mined(contract_call=call))
    page = body_of("v3-transactions")
    page["results"][0]["sender"]["address"] = PRINCIPAL + more
    with pytest.raises(Malformed, match=r"sender\.address"):
        parser.tx_page(page, limit=50)


def test_a_memo_longer_than_a_memo_is_none():
    assert read(mined([stx(memo="0x" + "41" * 34)])).detail.events[0].memo == b"A" * 34
    assert read(mined([stx(memo="0x" + "41" * 35)])).detail.events[0].memo is None


def test_an_argument_that_is_too_large_keeps_its_place_and_not_its_bytes():
    args = [
        {"hex": "0x" + "03" * MAX_VALUE_BYTES},
        {"hex": "0x" + "03" * (MAX_VALUE_BYTES + 1)},
        {"hex": "0x04"},
    ]
    call = {"contract_id": "SP.c", "function_name": "f", "function_args": args}
    detail = read(mined(contract_call=call), with_args=True).detail
    assert detail.call.args == (b"\x03" * MAX_VALUE_BYTES, b"", b"\x04")


@pytest.mark.parametrize("bad", [None, 1, "true"])
def test_whether_a_block_is_canonical_must_be_said(bad):
    """A block without the field is malformed, not missing."""
    with pytest.raises(Malformed, match="canonical"):
        parser.header(body_of("v2-block-by-height") | {"canonical": bad})
    with pytest.raises(Malformed, match="canonical"):
        read(mined(canonical=bad))


def word(kind, text):
    return UnknownWord(kind, text)


@pytest.mark.parametrize(
    ("event", "unknown"),
    [
        (ft("rebase"), {word("asset_event_type", "rebase")}),
        (stx("rebase"), {word("asset_event_type", "rebase")}),
        (log("0x03", topic="log"), {word("topic", "log")}),
        ({"event_index": 0, "event_type": "ft_asset"}, {word("event_type", "ft_asset")}),
        ({"event_index": 0, "event_type": None}, {word("event_type", "None")}),
        ({"event_index": 0, "event_type": ["x"]}, {word("event_type", "a list of 1")}),
        ({"event_index": 0, "event_type": "x" * 100}, {word("event_type", "x" * 64)}),
        ({"event_index": 0, "event_type": "stx_lock", "stx_lock_event": {}}, set()),
        (
            {"event_index": 0, "event_type": "non_fungible_token_asset", "asset": {"asset_event_type": "x"}},
            set(),
        ),
        (ft("burn", recipient=""), set()),
        (ft() | {"a_new_field": {"of": "the future"}}, set()),
    ],
)
def test_a_word_of_an_event_that_is_not_known_is_named(event, unknown):
    """An unknown event is left out and reported; new fields do no harm."""
    assert read(mined([event])).detail.unknown == unknown


def test_an_unknown_status_and_type_of_a_transaction_are_named():
    assert read(mined(tx_status="ok")).detail.unknown == {word("status", "ok")}
    assert read(mined(tx_status="unknown")).detail.unknown == {word("status", "unknown")}
    page = body_of("v3-transactions")
    page["results"][0] |= {"type": "something_new", "status": "ok"}
    rows = parser.tx_page(page, limit=50).results
    assert rows[0].unknown == {word("status", "ok"), word("tx_type", "something_new")}
    assert all(row.unknown == frozenset() for row in rows[1:])


@pytest.mark.parametrize(
    "recording", ["v3-transactions", "v3-transactions-limit-50", "v3-block-transactions"]
)
def test_every_word_of_the_recorded_lists_is_known(recording):
    rows = parser.tx_page(body_of(recording), limit=50).results
    assert {said for row in rows for said in row.unknown} == set()


@pytest.mark.parametrize("recording", ["v1-tx-multiple", "tx-multiple-many-events", "v1-tx-multiple-dropped"])
def test_every_word_of_the_recorded_transactions_is_known(recording):
    body = body_of(recording)
    read = parse_multiple.windows(body, tx_ids=frozenset(body), with_args=False)
    assert {said for window in read.values() for said in window.detail.unknown} == set()
