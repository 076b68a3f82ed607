"""``login-link``: the link alone on stdout, and where it leads."""

import re
from pathlib import Path

import pytest

from tests.unit.watcher.cli.runner import CliRunner

GUIDE = Path(__file__).parents[4] / "docs/dashboard.md"
LINK = re.compile(r"(.+)/dashboard/sign-in\?link=[A-Za-z0-9_-]{43}\n")

COMMANDS = re.findall(r"^sbtc-watcher (login-link [^#\n]*?) *(?:#.*)?$", GUIDE.read_text(), re.MULTILINE)


def test_the_guide_has_commands() -> None:
    assert len(COMMANDS) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_guide_print_a_link_and_nothing_else(cli: CliRunner, command: str) -> None:
    """What else is to be said is on stderr, so that the link can be passed on."""
    merchant = cli.merchant()
    found = cli(*command.replace("mer_…", merchant).split())
    assert LINK.fullmatch(found.out)
    assert merchant in found.err
    assert ("to read." in found.err) == ("--scopes read" in command)


@pytest.mark.parametrize(
    ("settings", "base"),
    [
        ({}, "http://127.0.0.1:8420"),
        ({"HTTP_BIND": "0.0.0.0:9000"}, "http://127.0.0.1:9000"),
        ({"HTTP_BIND": "[::1]:9000"}, "http://[::1]:9000"),
        ({"HTTP_BIND": "", "PUBLIC_URL": "https://pay.example/base"}, "https://pay.example/base"),
    ],
)
def test_a_link_leads_to_where_the_dashboard_is(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], base: str
) -> None:
    merchant = cli.merchant()
    for name, value in settings.items():
        monkeypatch.setenv(f"SBTC_WATCHER_{name}", value)
    found = LINK.fullmatch(cli("login-link", "--merchant", merchant).out)
    assert found is not None
    assert found[1] == base
    assert cli.doc("login-link", "--merchant", merchant)["url"].startswith(f"{base}/dashboard/")


def test_what_is_wrong_makes_no_link(cli: CliRunner) -> None:
    merchant = cli.merchant()
    assert "write read or write" in cli("login-link", "--merchant", merchant, "--scopes", "all", code=2).err
    assert "no merchant mer_X" in cli("login-link", "--merchant", "mer_X", code=1).err
    cli("merchants", "disable", merchant)
    assert "disabled" in cli("login-link", "--merchant", merchant, code=2).err
