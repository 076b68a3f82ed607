"""The list of pending transactions: recorded and malformed answers."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from chain.api.parse_fields import Malformed
from chain.api.parse_mempool import PendingTx, pending_page
from chain.model import STX, ContractCall, TransferEvent

DATA = Path(__file__).parents[3] / "data" / "stacks-api"
BODY = json.loads((DATA / "v3-mempool-transactions.json").read_text())["body"]


def changed(*path: Any, to: Any) -> Any:
    """The recorded body with one field replaced."""
    body = copy.deepcopy(BODY)
    place = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return body


def test_the_recorded_page_holds_a_call_and_a_transfer() -> None:
    page = pending_page(BODY, limit=10, etag='"1795199331.218989"')
    merchant = "SP631QCCSY4ZBC8PM6YN160YPSB2QBTSSW2RYEW0"
    token = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
    payer = "SP2ZBAMA9335J8SH2A9R17F03SRNY7KN7KWJXF0FM"
    assert page.results == (
        PendingTx(
            tx_id="0xbf1408050ae7c356d7135b722de6d815c20ad06cc876a0f7778d01995e213232",
            sender="SPQ48JMDGBQ8J9WZBM8N6760MA7F1ZD5KM46FFG8",
            call=ContractCall(contract_id=token, function="transfer"),
        ),
        PendingTx(
            tx_id="0x6ba3576c97159b20faf644dd7960ea4f5b56c687de82bde9cd3c3d2df06222b0",
            sender=payer,
            transfer=TransferEvent(
                rank=0,
                asset=STX,
                sender=payer,
                recipient=merchant,
                amount=2_500_000,
                memo=b"INV-1002".ljust(34, b"\0"),
            ),
        ),
    )
    assert (page.next_cursor, page.etag) == (None, '"1795199331.218989"')


def test_other_types_of_transactions_are_known_by_their_id_only() -> None:
    page = pending_page(changed("results", 0, "type", to="something new"), limit=10)
    assert (page.results[0].transfer, page.results[0].call) == (None, None)


def test_a_page_names_the_next_one() -> None:
    cursor = f"1795199331:0x{'ab' * 32}"
    assert pending_page(changed("cursor", "next", to=cursor), limit=10).next_cursor == cursor


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        changed("results", to={}),
        changed("cursor", to=None),
        changed("cursor", "next", to=5),
        changed("cursor", "next", to="1795199331"),
        changed("cursor", "next", to="../../extended:0x" + "ab" * 32),
        changed("results", 0, to=None),
        changed("results", 0, "tx_id", to="0x1"),
        changed("results", 0, "sender", to=None),
        changed("results", 0, "type", to=None),
        changed("results", 0, "contract_call", to=None),
        changed("results", 0, "contract_call", "function_name", to=7),
        changed("results", 1, "token_transfer", "amount", to="-1"),
        changed("results", 1, "token_transfer", "memo", "hex", to="zz"),
    ],
)
def test_what_the_api_does_not_promise_is_malformed(body: Any) -> None:
    with pytest.raises(Malformed):
        pending_page(body, limit=10)


def test_more_rows_than_asked_for_are_malformed() -> None:
    with pytest.raises(Malformed, match="2 rows, more than the 1"):
        pending_page(BODY, limit=1)
