"""Why the daemon is not as it should be: every code can be looked up."""

import re
from pathlib import Path

import pytest

from chain.errors import OperatorNeeded
from watcher.services.status_reasons import Code, no_notifier

RUNBOOK = Path(__file__).parents[4] / "docs" / "runbook.md"


def test_the_runbook_has_a_part_on_every_code_and_on_nothing_else() -> None:
    parts = [line.removeprefix("## ") for line in RUNBOOK.read_text().splitlines() if line.startswith("## ")]
    assert sorted(parts) == sorted(code.value for code in Code)


def test_the_runbook_explains_every_code_of_a_halt_and_no_other() -> None:
    """Each exception that halts the daemon names its code as a literal, which can be searched for."""
    halted = RUNBOOK.read_text().split("\n## halted\n")[1].split("\n## ")[0]
    explained = re.findall(r"^\| `(\w+)` \|", halted, re.MULTILINE)
    raised = [error.__dict__["code"] for error in OperatorNeeded.__subclasses__()]
    assert sorted(explained) == sorted(raised)
    assert len({*raised}) == len(raised)


@pytest.mark.parametrize(("due", "words"), [(1, "1 webhook is due"), (2000, "2,000 webhooks are due")])
def test_due_webhooks_are_counted(due: int, words: str) -> None:
    assert no_notifier(due).message.startswith(words)
