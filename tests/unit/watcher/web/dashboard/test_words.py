"""Each word of a document that the dashboard explains has its sentence, and there are no others."""

import re
from importlib.resources import files
from pathlib import Path
from typing import get_args

from notifier.events import EventType
from watcher.domain.matching import Unmatched
from watcher.domain.model import Flag, Status
from watcher.schemas import Transfer
from watcher.services.export import INTENT_COLUMNS
from watcher.web.dashboard import words


def test_every_status_and_flag_is_explained() -> None:
    assert set(words.STATUSES) == set(Status)
    assert set(words.FLAGS) == set(Flag)


def test_every_reason_of_unmatched_money_says_why_and_what_to_do() -> None:
    """For the domain's reasons, and for those that documents can have."""
    assert set(words.UNMATCHED) == set(Unmatched)
    [documented, _] = get_args(Transfer.model_fields["unmatched"].annotation)
    assert set(words.UNMATCHED) == set(get_args(documented))
    assert all(why.endswith(".") and do.endswith(".") for why, do in words.UNMATCHED.values())


def test_every_event_has_a_word() -> None:
    assert set(words.EVENTS) == {event for event in EventType if event.startswith("payment.")}


def test_the_columns_of_the_csv_are_documented_in_their_order() -> None:
    text = Path(__file__).parents[5].joinpath("docs/dashboard.md").read_text()
    table = text.partition("<!-- columns -->")[2].partition("<!-- /columns -->")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    documented = [column for row in rows for column in re.findall(r"`(\w+)`", row)]
    assert documented == list(INTENT_COLUMNS)


def test_the_wallets_part_has_all_its_texts() -> None:
    template = files("watcher.web").joinpath("templates", "wallet.html").read_text()
    keys = set(re.findall(r'"(wallet\.\w+)"', template.partition("{% endmacro %}")[0]))
    for key in keys:
        assert "{}" in words.refund_wallet(key, wallet="{}", network="mainnet", payer="SP1") or key in {
            "wallet.ended",
            "wallet.server",
        }
