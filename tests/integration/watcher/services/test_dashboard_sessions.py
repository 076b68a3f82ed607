"""Sessions of the dashboard: how they begin, and what ends them."""

import re

import pytest
from sqlalchemy import select, update

from tests.integration.watcher.ledger_fixture import LedgerFixture
from watcher.config.settings import Settings
from watcher.errors import NotFound, Refused
from watcher.schemas import AddApiKey, ChangeMerchant, Page
from watcher.schemas.dashboard import NewLoginLink
from watcher.services import api_keys, dashboard_sessions
from watcher.services.dashboard_sessions import (
    IDLE_SECONDS,
    LINK_SECONDS,
    MAX_AGE_SECONDS,
    MAX_SESSIONS,
    Browser,
    DashboardSession,
    How,
)
from watcher.store import dashboard_sessions as store
from watcher.store.dashboard_schema import dashboard_session, login_link

ADMIN = "the-operators-own-token"
BROWSER = Browser(address="192.0.2.7", agent="Mozilla/5.0")


class Door:
    """Signs in to the fixture's database by a clock of its own, which judges on SQLite."""

    def __init__(self, fixture: LedgerFixture) -> None:
        self.fixture = fixture
        self.settings = Settings(database_url=fixture.settings.database_url, admin_token=ADMIN)

    def key(self, merchant: str | None = None, **more: object) -> tuple[str, str]:
        """Add an API key; return its id and the key."""
        with self.fixture.database.begin() as connection:
            row, key = api_keys.add(
                connection,
                self.settings.network,
                merchant or self.fixture.merchant,
                AddApiKey.of(more),
                now=self.fixture.clock(),
            )
        return row["id"], key

    def sign_in(self, secret: str) -> str | None:
        self.fixture.clock.now += 0.002  # ids of two milliseconds sort by time
        with self.fixture.database.begin() as connection:
            return dashboard_sessions.sign_in(
                connection, secret, settings=self.settings, browser=BROWSER, now=self.fixture.clock()
            )

    def link(self, merchant: str | None = None, **more: object) -> str:
        """Make a login link; return its token."""
        with self.fixture.services() as services:
            found = services.add_login_link(merchant or self.fixture.merchant, NewLoginLink.of(more))
        return str(found["path"]).partition("link=")[2]

    def follow(self, token: str) -> str | None:
        self.fixture.clock.now += 0.002
        with self.fixture.database.begin() as connection:
            return dashboard_sessions.sign_in_with_link(
                connection, token, browser=BROWSER, now=self.fixture.clock()
            )

    def session(self, secret: str | None, **settings: object) -> DashboardSession | None:
        assert secret is not None
        chosen = self.settings if not settings else Settings(database_url="sqlite:///x.db", **settings)
        with self.fixture.database.read() as connection:
            return dashboard_sessions.find(connection, secret, settings=chosen, now=self.fixture.clock())

    def age(self, seconds: int, *names: str) -> None:
        """Make all sessions older, by whichever clock judges them."""
        columns = [dashboard_session.c[name] for name in names or ("created_at", "last_used_at")]
        with self.fixture.database.begin() as connection:
            values = {column.name: column - seconds for column in columns}
            connection.execute(update(dashboard_session).values(**values))

    def problems(self) -> list[str | None]:
        """Return what the log says of each attempt, newest first."""
        with self.fixture.services() as services:
            return [line["problem"] for line in services.sign_ins(Page())["data"]]


@pytest.fixture
def door(fixture: LedgerFixture) -> Door:
    return Door(fixture)


def test_a_key_signs_its_merchant_in_with_its_scopes(door: Door) -> None:
    key_id, key = door.key(scopes=["read"])
    found = door.session(door.sign_in(key))
    assert found is not None
    assert (found.merchant, found.merchant_name, found.is_operator) == (door.fixture.merchant, "Shop", False)
    assert (found.how, found.scopes, found.actor) == (How.API_KEY, {"read"}, f"key:{key_id}")


def test_the_admin_token_signs_an_operator_in(door: Door) -> None:
    found = door.session(door.sign_in(ADMIN))
    assert found is not None
    assert (found.merchant, found.is_operator, found.actor) == (None, True, "admin")


def test_a_secret_is_never_stored(door: Door) -> None:
    """Neither the cookie's, nor a link's, nor the admin token: only what cannot be turned back."""
    secret, token = door.sign_in(ADMIN), door.link()
    assert secret is not None
    with door.fixture.database.read() as connection:
        rows = [
            *connection.execute(dashboard_session.select()).all(),
            *connection.execute(login_link.select()).all(),
        ]
    stored = [bytes(value) if isinstance(value, memoryview) else value for row in rows for value in row]
    for hidden in (secret, token, ADMIN):
        assert not [value for value in stored if hidden in str(value) or hidden.encode() in _bytes(value)]
    assert len(re.findall(r"[A-Za-z0-9_-]", secret)) == 43  # 256 bits


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


@pytest.mark.parametrize("secret", ["", "nonsense", "sk_live_" + "A" * 32, "sk_live_", "\udcff", ADMIN[:-1]])
def test_a_wrong_secret_signs_nobody_in_and_is_in_the_log(door: Door, secret: str) -> None:
    assert door.sign_in(secret) is None
    assert len(door.problems()) == 1
    assert door.problems()[0] is not None


def test_the_admin_token_opens_nothing_where_there_is_none(door: Door) -> None:
    door.settings = Settings(database_url=door.fixture.settings.database_url)
    assert door.sign_in(ADMIN) is None


def test_an_operators_session_ends_with_the_admin_token(door: Door) -> None:
    """Whether it is taken away or another."""
    secret = door.sign_in(ADMIN)
    assert door.session(secret, admin_token=ADMIN) is not None
    assert door.session(secret, admin_token="another-operators-token") is None
    assert door.session(secret, network="mainnet") is None


def test_a_key_that_only_writes_does_not_sign_in(door: Door) -> None:
    _, key = door.key(scopes=["write"])
    assert door.sign_in(key) is None
    assert door.problems() == ["the key may not read"]


def test_a_session_ends_with_its_key(door: Door) -> None:
    """One that is revoked or has expired, at the next request; another key's session goes on."""
    key_id, key = door.key()
    _, other = door.key()
    ended, stays = door.sign_in(key), door.sign_in(other)
    with door.fixture.services() as services:
        services.revoke_merchant_key(door.fixture.merchant, key_id)
    assert door.session(ended) is None
    assert door.session(stays) is not None
    assert door.sign_in(key) is None
    assert door.problems()[0] == "the key was revoked or has expired"


def test_a_session_ends_with_its_merchant(door: Door) -> None:
    """Also one of a link, which no key made; and no other link is made."""
    secret, unused = door.follow(door.link()), door.link()
    with door.fixture.services() as services:
        services.change_merchant(door.fixture.merchant, ChangeMerchant(status="disabled"))
    assert door.session(secret) is None
    assert door.follow(unused) is None
    assert door.problems()[0] == "the merchant is disabled"
    with pytest.raises(Refused, match="disabled"):
        door.link()


@pytest.mark.parametrize(
    ("seconds", "columns"),
    [(IDLE_SECONDS, ("last_used_at",)), (MAX_AGE_SECONDS, ("created_at",)), (-3600, ("created_at",))],
)
def test_a_session_ends_when_it_is_idle_or_old_or_of_a_wrong_clock(
    door: Door, seconds: int, columns: tuple[str, ...]
) -> None:
    secret = door.sign_in(ADMIN)
    door.age(seconds - 60 if seconds > 0 else 0, *columns)
    assert door.session(secret) is not None
    door.age(60 if seconds > 0 else seconds, *columns)
    assert door.session(secret) is None


def test_use_is_noted_by_the_clock_that_judges(door: Door) -> None:
    """A machine whose clock is days ahead keeps no session alive; one that is behind ends none."""
    session = door.session(door.sign_in(ADMIN))
    assert session is not None
    door.age(100)
    machine = door.fixture.clock()
    with door.fixture.database.begin() as connection:
        dashboard_sessions.record_use(connection, {session.id: machine - 20}, now=machine)
        row = connection.execute(select(dashboard_session)).one()
    assert 75 <= row.last_used_at - row.created_at <= 95


def test_use_keeps_a_session_from_being_idle_and_is_never_set_back(door: Door) -> None:
    secret = door.sign_in(ADMIN)
    session = door.session(secret)
    assert session is not None
    door.age(IDLE_SECONDS, "last_used_at")
    with door.fixture.database.begin() as connection:
        clock = dashboard_sessions.database_time(connection, machine=door.fixture.clock())
        store.record_use(connection, {session.id: clock})
        store.record_use(connection, {session.id: clock - IDLE_SECONDS})
        store.record_use(connection, {})
    assert door.session(secret) is not None


def test_a_link_signs_in_once(door: Door) -> None:
    token = door.link(scopes=["read"])
    found = door.session(door.follow(token))
    assert found is not None
    assert (found.merchant, found.scopes, found.how) == (door.fixture.merchant, {"read"}, How.LOGIN_LINK)
    assert found.actor == f"session:{found.id}"
    assert door.follow(token) is None
    assert door.follow("nonsense") is None
    assert set(door.problems()) == {"no such link", "the link was used before", None}


def test_looking_at_a_link_does_not_use_it(door: Door) -> None:
    token = door.link()

    def peek() -> str | None:
        with door.fixture.database.read() as connection:
            return dashboard_sessions.peek_link(connection, token, now=door.fixture.clock())

    assert (peek(), peek()) == ("Shop", "Shop")
    assert door.follow(token) is not None
    assert peek() is None


@pytest.mark.parametrize("seconds", [LINK_SECONDS, -3600])
def test_a_link_works_for_ten_minutes(door: Door, seconds: int) -> None:
    token = door.link()
    with door.fixture.database.begin() as connection:
        connection.execute(update(login_link).values(created_at=login_link.c.created_at - seconds))
    assert door.follow(token) is None
    assert door.problems() == ["the link is over"]


def test_a_merchant_sees_and_ends_only_their_own_sessions(door: Door) -> None:
    other = door.fixture.add_merchant("Other", door.fixture.settings.sbtc_contract.partition(".")[0])
    secrets = {
        door.fixture.merchant: door.follow(door.link()),
        other: door.follow(door.link(other)),
        None: door.sign_in(ADMIN),
    }
    ids = {}
    for merchant in secrets:
        with door.fixture.services(merchant) as services:
            [found] = services.dashboard_sessions()["data"]
            ids[merchant] = found["id"]
    with door.fixture.services(door.fixture.merchant) as services:
        for stranger in (ids[other], ids[None], "ses_X"):
            with pytest.raises(NotFound):
                services.end_dashboard_session(stranger)
        assert {line["merchant"] for line in services.sign_ins(Page())["data"]} == {door.fixture.merchant}
        services.end_dashboard_session(ids[door.fixture.merchant])
        assert services.dashboard_sessions()["data"] == []
    assert [door.session(secret) is None for secret in secrets.values()] == [True, False, False]


def test_signing_out_ends_the_session(door: Door) -> None:
    secret = door.sign_in(ADMIN)
    assert secret is not None
    for _ in range(2):
        with door.fixture.database.begin() as connection:
            dashboard_sessions.sign_out(connection, secret, now=door.fixture.clock())
        assert door.session(secret) is None


def test_the_oldest_session_gives_way(door: Door) -> None:
    """So that the table does not fill up."""
    secrets = [door.sign_in(ADMIN) for _ in range(MAX_SESSIONS + 1)]
    assert door.session(secrets[0]) is None
    assert door.session(secrets[1]) is not None
    with door.fixture.services() as services:
        assert len(services.dashboard_sessions()["data"]) == MAX_SESSIONS


def test_what_is_old_is_deleted(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """By age, and of the log beyond its length; what is new stays."""
    monkeypatch.setattr(dashboard_sessions, "MAX_SIGN_INS", 3)
    door.link()
    secret = door.sign_in(ADMIN)
    for _ in range(4):
        door.sign_in("nonsense")
    assert len(door.problems()) == 5

    def prune(keep_days: int) -> int:
        with door.fixture.database.begin() as connection:
            return dashboard_sessions.prune(connection, now=door.fixture.clock(), keep_days=keep_days)

    assert (prune(1), prune(1)) == (2, 0)
    assert len(door.problems()) == 3
    assert door.session(secret) is not None
    door.age(3 * 86_400)
    assert (prune(1), prune(1)) == (1, 0)
