"""Why the daemon is not as it should be: every code can be looked up."""

from pathlib import Path

import pytest

from watcher.services.status_reasons import Code, no_notifier

RUNBOOK = Path(__file__).parents[4] / "docs" / "runbook.md"


def test_the_runbook_has_a_part_on_every_code_and_on_nothing_else() -> None:
    parts = [line.removeprefix("## ") for line in RUNBOOK.read_text().splitlines() if line.startswith("## ")]
    assert sorted(parts) == sorted(code.value for code in Code)


@pytest.mark.parametrize(("due", "words"), [(1, "1 webhook is due"), (2000, "2,000 webhooks are due")])
def test_due_webhooks_are_counted(due: int, words: str) -> None:
    assert no_notifier(due).message.startswith(words)
