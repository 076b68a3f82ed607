"""What documents tell people to type."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_nothing_is_installed_into_the_systems_python() -> None:
    """Debian's refuses it (externally-managed-environment): README, docs and examples go by an environment of their own."""
    texts = [
        path.read_text()
        for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/*.py"))
    ]
    calls = [call for text in texts for call in re.findall(r"(\S*pip3?|\S+ -m pip) install", text)]
    assert len(calls) >= 4
    assert [call for call in calls if not call.strip("`'").endswith("/bin/pip")] == []
