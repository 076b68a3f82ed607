"""Webhook secrets at rest, from the setting to the delivery."""

import asyncio
import time

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text

from notifier import endpoints, outbox, sealing_keys, ssrf
from notifier.events import EventType, event_body, event_id
from notifier.secrets import PLAIN, SecretStore
from notifier.testing import Receiver
from tests import harness
from watcher.config.settings import Settings
from watcher.daemon import main as daemon_main
from watcher.daemon import wiring
from watcher.errors import ConfigError, Unreachable
from watcher.monitoring.metrics import Metrics
from watcher.services.webhook_secrets import check_encryption, check_secrets, open_secret_store
from watcher.store.database import alembic_config

KEY, OTHER = "11" * 32, "22" * 32


@pytest.fixture
def database(tmp_path, backend):
    found = harness.open_database(tmp_path)
    yield found
    found.close()


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "webhook.key"
    path.write_text(KEY + "\n")
    return path


def settings_with(path, tmp_path, **more):
    return Settings(database_url=harness.database_url(tmp_path), secret_key_file=path, **more)


def add(database, secret_store, url="https://shop.example/x"):
    with database.begin() as connection:
        return endpoints.create(
            connection,
            merchant="mer_1",
            url=ssrf.CheckedUrl(url),
            events=["*"],
            secret_store=secret_store,
            now=time.time(),
        )


def dump(database):
    with database.read() as connection:
        return str(connection.execute(text("SELECT * FROM endpoint")).all())


def test_without_the_setting_secrets_are_plain(tmp_path):
    assert not open_secret_store(Settings(database_url=f"sqlite:///{tmp_path}/x.db")).encrypts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "secret_key_file: cannot read .*webhook.key: no such file"),
        (b"", "secret_key_file: .*webhook.key: holds no key"),
        (b"password", "secret_key_file: .*webhook.key: line 1 is no key"),
        (b"\xff" * 32, "secret_key_file: .*webhook.key is not text"),
    ],
)
def test_a_key_file_that_is_none_is_one_line_that_says_so(tmp_path, content, message):
    path = tmp_path / "webhook.key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        open_secret_store(settings_with(path, tmp_path))
    assert "\n" not in str(caught.value)
    assert "openssl rand -hex 32" in f"{caught.value} {caught.value.hint}"


def test_a_folder_is_no_key_file(tmp_path):
    with pytest.raises(ConfigError, match="is a directory"):
        open_secret_store(settings_with(tmp_path, tmp_path))


def test_the_database_holds_nothing_to_sign_with(database, key_file, tmp_path):
    _, secret = add(database, open_secret_store(settings_with(key_file, tmp_path)))
    assert "aes256gcm:" in dump(database)
    assert secret not in dump(database)
    assert secret.removeprefix("whsec_") not in dump(database)


@pytest.mark.parametrize("keys", [[], [bytes.fromhex(OTHER)]])
def test_a_start_without_the_key_that_sealed_is_refused_in_one_line(database, key_file, tmp_path, keys):
    added, _ = add(database, open_secret_store(settings_with(key_file, tmp_path)))
    add(database, PLAIN)
    with pytest.raises(
        ConfigError, match=f"secret_key_file: .* secrets of 1 endpoint .*{added.id}"
    ) as caught:
        check_secrets(database, SecretStore(keys))
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    check_secrets(database, SecretStore([*keys, bytes.fromhex(KEY)]))


def test_the_daemon_does_not_start_with_the_wrong_key(database, key_file, tmp_path):
    add(database, open_secret_store(settings_with(key_file, tmp_path)))
    key_file.write_text(OTHER)
    with pytest.raises(ConfigError, match="do not open the secrets"):
        daemon_main.run(settings_with(key_file, tmp_path), frozenset({"notifier"}), once=True)


@pytest.mark.parametrize("keyed", [False, True])
def test_a_start_waits_for_nobody_who_writes_to_the_database(
    database, key_file, tmp_path, monkeypatch, keyed
):
    """Who holds the lock for long (a backup, a migration) stops no daemon that starts meanwhile."""
    monkeypatch.setattr("watcher.store.database.BUSY_TIMEOUT_SECONDS", 0.05)
    settings = settings_with(key_file, tmp_path)
    secret_store = open_secret_store(settings) if keyed else PLAIN
    check_secrets(database, secret_store)
    other = harness.open_database(tmp_path)
    try:
        with other.begin():
            check_secrets(database, secret_store)
            if keyed:
                assert daemon_main.run(settings, frozenset({"api"}), once=True) == 0
    finally:
        other.close()


def test_a_start_on_a_database_that_does_not_serve_is_refused_in_one_line(tmp_path):
    """What a person reads is no traceback."""
    file = tmp_path / "no.db"
    file.write_bytes(b"this is no database, whatever its name says")
    settings = Settings(database_url=f"sqlite:///{file}")
    with pytest.raises(Unreachable, match="does not answer: file is not a database") as caught:
        daemon_main.run(settings, frozenset({"api"}), once=True)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


async def test_a_delivery_signed_with_a_sealed_secret_verifies(database, key_file, tmp_path):
    settings = settings_with(key_file, tmp_path, webhook_allow_http=True, webhook_allow_private=True)
    async with Receiver() as receiver:
        added, secret = add(database, open_secret_store(settings), receiver.url())
        receiver.trust(secret)
        id_ = event_id("pi_1", EventType.SUCCEEDED, 0)
        now = int(time.time())
        body = event_body(id=id_, type=EventType.SUCCEEDED, created_at=now, sequence=1, data={})
        row = outbox.EventRow(
            id=id_,
            intent="pi_1",
            merchant="mer_1",
            type=EventType.SUCCEEDED,
            n=0,
            sequence=1,
            body=body,
            created_at=now,
        )
        with database.begin() as connection:
            outbox.enqueue(connection, row, now=now)
            _, current = endpoints.rotate_secret(
                connection, added.id, secret_store=open_secret_store(settings), now=time.time()
            )
        async with asyncio.timeout(20):
            assert await wiring.make_worker(settings, database, Metrics()).drain(time.monotonic() + 10)
        [arrival] = receiver.arrivals
        assert arrival.refused is None
        receiver.trust(current)
        assert receiver._verify("/", arrival.headers, arrival.body) is None, "both secrets of a rotation sign"


def test_a_database_with_sealed_secrets_remembers_their_key_when_it_is_upgraded(database):
    """One from an earlier version: the migration finds the names in what is stored, and plain secrets are
    refused.
    """
    secret_store = SecretStore([bytes.fromhex(KEY)])
    add(database, secret_store)
    add(database, PLAIN)
    scripts = ScriptDirectory.from_config(alembic_config())
    [made] = [script for script in scripts.walk_revisions() if "sealing_key" in script.path]
    with database.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, made.down_revision)
    database.upgrade()
    with database.begin() as connection:
        assert sealing_keys.known_keys(connection) == [secret_store.encryption_key]
        with pytest.raises(ConfigError, match=f"secret_key_file: not set, .* {secret_store.encryption_key}"):
            check_encryption(connection, PLAIN)
        check_encryption(connection, SecretStore([bytes.fromhex(OTHER)]))
        assert len(sealing_keys.known_keys(connection)) == 2
