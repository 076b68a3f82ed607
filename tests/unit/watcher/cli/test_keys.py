"""``merchants keys`` and ``rotate-key --overlap``: keys are shown once and end at the announced time."""

import re

import pytest

from tests.unit.watcher.cli.runner import CliRunner
from watcher import schemas


def test_a_key_has_a_name_and_scopes_and_is_shown_once(cli: CliRunner) -> None:
    merchant = cli.merchant()
    added = cli.doc("merchants", "keys", "add", merchant, "--name", "till 2", "--scopes", "read")
    assert added["api_key"].startswith("sk_live_")
    assert (added["key"]["name"], added["key"]["scopes"]) == ("till 2", ["read"])
    listed = cli.doc("merchants", "keys", "list", merchant)
    assert schemas.ApiKeyPage.model_validate(listed).model_dump(mode="json") == listed
    assert [(key["name"], key["scopes"], key["status"]) for key in listed["data"]] == [
        ("till 2", ["read"], "active"),
        ("default", ["read", "write"], "active"),
    ]
    assert added["api_key"] not in str(listed)
    shown = cli("merchants", "keys", "list", merchant).out
    assert "till 2" in shown
    plain = cli("merchants", "keys", "add", merchant)
    assert "sk_live_" in plain.out
    assert "not shown again" in plain.err


def test_a_revoked_key_stays_in_the_list(cli: CliRunner) -> None:
    merchant = cli.merchant()
    key = cli.doc("merchants", "keys", "list", merchant)["data"][0]["id"]
    revoked = cli.doc("merchants", "keys", "revoke", merchant, key)
    assert revoked["status"] == "revoked"
    assert cli.doc("merchants", "keys", "revoke", merchant, key) == revoked
    assert cli.doc("merchants", "keys", "list", merchant)["data"] == [revoked]
    assert "revoked" in cli("merchants", "keys", "revoke", merchant, key).out


def test_a_rotation_ends_the_old_keys_at_once_or_after_the_overlap(cli: CliRunner) -> None:
    merchant = cli.merchant()
    rotated = cli.doc("merchants", "rotate-key", merchant, "--overlap", "24h")
    new, old = cli.doc("merchants", "keys", "list", merchant)["data"]
    assert (new["expires_at"], new["status"]) == (None, "active")
    assert old["expires_at"] is not None
    assert (old["status"], old["revoked_at"]) == ("active", None)
    assert rotated["previous_keys_expire_at"] == old["expires_at"]
    assert cli.doc("merchants", "rotate-key", merchant)["previous_keys_expire_at"] is None
    assert [key["status"] for key in cli.doc("merchants", "keys", "list", merchant)["data"]] == [
        "active",
        "revoked",
        "revoked",
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("rotate-key", "{}", "--overlap", "soon"), "overlap"),
        (("rotate-key", "{}", "--overlap", "31d"), "overlap"),
        (("keys", "add", "{}", "--scopes", "all"), "scopes: 'all' is unknown; write read or write"),
        (("keys", "add", "{}", "--scopes", ""), "scopes"),
        (("keys", "add", "{}", "--name", ""), "name"),
    ],
)
def test_an_invalid_option_is_refused_and_changes_nothing(
    cli: CliRunner, arguments: tuple[str, ...], error: str
) -> None:
    merchant = cli.merchant()
    before = cli.doc("merchants", "keys", "list", merchant)
    assert error in cli("merchants", *(word.format(merchant) for word in arguments), code=2).err
    assert cli.doc("merchants", "keys", "list", merchant) == before


def test_what_is_not_there_is_not_found(cli: CliRunner) -> None:
    cli.merchant()
    for arguments in (("add", "mer_X"), ("list", "mer_X"), ("revoke", "mer_X", "key_X")):
        cli("merchants", "keys", *arguments, code=1)


def test_a_disabled_merchant_gets_no_key_and_no_merchant_too_many(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcher.services.api_keys.MAX_KEYS", 2)
    merchant = cli.merchant()
    cli("merchants", "keys", "add", merchant)
    assert "valid keys" in cli("merchants", "keys", "add", merchant, code=2).err
    cli("merchants", "disable", merchant)
    assert "disabled" in cli("merchants", "keys", "add", merchant, code=2).err


def test_a_rotation_says_until_when_the_old_key_and_the_old_secret_work(cli: CliRunner) -> None:
    """An operator who rotates needs to know until when the old one works."""
    merchant = cli.merchant()
    key = cli("merchants", "rotate-key", merchant, "--overlap", "24h").out
    assert re.search(r"Old keys +valid until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", key)
    assert re.search(r"Old keys +not valid any more", cli("merchants", "rotate-key", merchant).out)
    added = cli.doc("endpoints", "add", "https://1.1.1.1/hooks", "--merchant", merchant)
    rotate = ("endpoints", "rotate-secret", added["endpoint"]["id"])
    assert re.search(r"Old secret +signs too until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", cli(*rotate).out)
    assert re.search(r"Old secret +not valid any more", cli(*rotate, "--overlap", "0").out)
