"""Lists of transfers and prints: JSON to model; of each row only the transaction is read."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api import parse_lists
from chain.api.parse_fields import Malformed
from chain.testing import principal
from tests.unit.chain.api.test_parse import GARBAGE, _paths

DATA = Path(__file__).parents[3] / "data" / "stacks-api"
LOGS = json.loads((DATA / "logs-page1.json").read_text())["body"]
ONE, TWO = (f"0x{digit * 64}" for digit in "12")
MERCHANT = principal("merchant")
TRANSFERS: dict[str, Any] = {
    "total": 1,
    "limit": 50,
    "cursor": {"next": "7:2147483647:3:1", "previous": None, "current": "8:2147483647:0:0"},
    "results": [
        {
            "sender": None,
            "recipient": MERCHANT,
            "amount": "5",
            "transaction": {"tx_id": ONE, "event_index": 0},
            "block": {"height": 8, "hash": TWO, "index_hash": TWO, "time": 1, "tx_index": 0},
        }
    ],
}


def test_a_transfer_names_its_transaction_and_block() -> None:
    """A mint has no sender, a burn no recipient, and that is no error."""
    page = parse_lists.transfer_page(TRANSFERS, limit=50)
    assert page.results == (parse_lists.ListedTransfer(ONE, 8, TWO, MERCHANT),)
    burn = {**TRANSFERS["results"][0], "recipient": None}
    [burnt] = parse_lists.transfer_page({**TRANSFERS, "results": [burn]}, limit=50).results
    assert burnt.recipient is None
    assert page.next_cursor == "7:2147483647:3:1"


def test_recorded_prints_are_read_newest_first_with_the_height_of_the_next() -> None:
    """In this list ``prev_cursor`` is the older page."""
    page = parse_lists.print_page(LOGS, limit=50)
    assert len(page.results) == 50
    assert page.results[0].value.endswith(b"bulk-119")
    assert (page.next_cursor, page.next_height) == (LOGS["prev_cursor"], 18)
    last = parse_lists.print_page({**LOGS, "prev_cursor": None}, limit=50)
    assert last.next_height is None


def test_a_huge_print_keeps_its_transaction_and_a_bad_cursor_is_malformed() -> None:
    """A contract may print megabytes."""
    row = copy.deepcopy(LOGS["results"][0])
    row["contract_log"]["value"]["hex"] = "0x" + "00" * 2000
    [row_read] = parse_lists.print_page({**LOGS, "results": [row]}, limit=50).results
    assert (row_read.tx_id, row_read.value) == (row["tx_id"], b"")
    for cursor in (7, "1:2", "1:2:3:4/../.."):
        with pytest.raises(Malformed, match="prev_cursor"):
            parse_lists.print_page({**LOGS, "prev_cursor": cursor}, limit=50)


@given(st.data(), st.sampled_from(["transfers", "prints"]), GARBAGE)
def test_any_value_anywhere_is_read_or_malformed(data: Any, which: str, garbage: Any) -> None:
    """No answer, however odd, raises anything else."""
    document = TRANSFERS if which == "transfers" else {**LOGS, "results": LOGS["results"][:2]}
    parse = parse_lists.transfer_page if which == "transfers" else parse_lists.print_page
    path = data.draw(st.sampled_from(list(_paths(document))))
    changed: Any = copy.deepcopy(document)
    if not path:
        changed = garbage
    else:
        inner = changed
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = garbage
    try:
        parse(changed, limit=50)
    except Malformed as error:
        assert str(error)  # noqa: PT017 - either outcome is right; only another exception is wrong
