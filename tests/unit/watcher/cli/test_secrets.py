"""``check`` of the webhook secrets and the key file that encrypts them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.watcher.cli.runner import CliRunner, calling

KEY_FILE = "SBTC_WATCHER_SECRET_KEY_FILE"
URL = "https://8.8.8.8/hooks"


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CliRunner]:
    # No source answers; the findings about the database come all the same.
    monkeypatch.setenv("SBTC_WATCHER_API_URLS", "http://127.0.0.1:1")
    with calling(tmp_path, monkeypatch, capsys) as cli:
        yield cli


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "webhook.key"
    path.write_text("ab" * 32)
    monkeypatch.setenv(KEY_FILE, str(path))
    return path


def secrets(cli: CliRunner) -> dict[str, str] | None:
    """Return the finding about secrets, None if there is none."""
    found = [one for one in cli.doc("check", code=3)["checks"] if one["subject"] == "secrets"]
    assert len(found) <= 1
    return found[0] if found else None


def test_without_a_key_file_and_without_sealed_secrets_nothing_is_said(cli: CliRunner) -> None:
    cli("endpoints", "add", URL, "--merchant", cli.merchant())
    assert secrets(cli) is None


def test_with_a_key_file_that_opens_everything_check_says_so(cli: CliRunner, key_file: Path) -> None:
    cli("endpoints", "add", URL, "--merchant", cli.merchant())
    found = secrets(cli)
    assert found is not None
    assert (found["level"], found["text"]) == ("ok", f"encrypted by {key_file}")


def test_a_missing_setting_is_an_error_that_names_the_endpoints(
    cli: CliRunner, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = cli.doc("endpoints", "add", URL, "--merchant", cli.merchant())
    monkeypatch.delenv(KEY_FILE)
    found = secrets(cli)
    assert found is not None
    assert found["level"] == "error"
    assert "not set, but the secrets of 1 endpoint" in found["text"]
    assert added["endpoint"]["id"] in found["text"]
    assert added["secret"] not in found["text"]


def test_another_key_is_an_error_with_a_way_out_that_works(cli: CliRunner, key_file: Path) -> None:
    endpoint = cli.doc("endpoints", "add", URL, "--merchant", cli.merchant())["endpoint"]["id"]
    key_file.write_text("cd" * 32)
    found = secrets(cli)
    assert found is not None
    assert found["level"] == "error"
    assert "do not open the secrets of 1 endpoint" in found["text"]
    assert "--overlap 0" in found["text"]
    cli("endpoints", "rotate-secret", endpoint, "--overlap", "24h", code=2)
    cli("endpoints", "rotate-secret", endpoint, "--overlap", "0")
    again = secrets(cli)
    assert again is not None
    assert again["level"] == "ok"


@pytest.mark.parametrize("content", ["", "hunter2\n", "ab" * 31])
def test_a_file_that_holds_no_key_is_an_error_and_is_not_quoted(
    cli: CliRunner, key_file: Path, content: str
) -> None:
    cli("db", "upgrade")
    key_file.write_text(content)
    found = secrets(cli)
    assert found is not None
    assert found["level"] == "error"
    assert str(key_file) in found["text"]
    assert not found["text"].endswith("; ")
    assert not content.strip() or content.strip() not in found["text"]


def test_a_file_that_is_not_there_is_an_error_that_says_how_to_make_one(
    cli: CliRunner, key_file: Path
) -> None:
    cli("db", "upgrade")
    key_file.unlink()
    found = secrets(cli)
    assert found is not None
    assert "cannot read" in found["text"]
    assert "openssl rand -hex 32" in found["text"]
