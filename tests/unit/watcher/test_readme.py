"""What documents tell people to type, and to read."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def test_nothing_is_installed_into_the_systems_python() -> None:
    """Debian's refuses it (externally-managed-environment): all documents use a virtual environment."""
    texts = [path.read_text() for path in (*DOCUMENTS, *(ROOT / "examples").glob("*/*.py"))]
    calls = [call for text in texts for call in re.findall(r"(\S*pip3?|\S+ -m pip) install", text)]
    assert len(calls) >= 4
    assert [call for call in calls if not call.strip("`'").endswith("/bin/pip")] == []


def test_the_readme_stays_short() -> None:
    assert len(DOCUMENTS[0].read_text().splitlines()) <= 130


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            missing.append(target)
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:benchmarks|chain|contracts|notifier|systemd|tests|watcher)/[^`\s:]*)`", path.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def _anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
