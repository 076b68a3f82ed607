"""Deliveries over TLS: checks of the endpoint's certificate, and SNI."""

import datetime
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp import web

from notifier.dns import Resolver
from notifier.sender import Sender

NAME = "shop.example"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    """Trust the tests' authority as an operator would: by ``$SSL_CERT_FILE``."""
    path = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.fixture
def names(monkeypatch):
    """Let every name resolve to 127.0.0.1, as a local server's would."""

    def look_up(host, port, *_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("notifier.sender.Resolver", lambda: Resolver(getaddrinfo=look_up))


class Seen:
    """Values that the server saw."""

    def __init__(self):
        self.server_names = []
        self.hosts = []
        self.bodies = []


@asynccontextmanager
async def shop(certificate, *, newest=None):
    """Serve https on a free port; yield the port and what arrives."""
    seen = Seen()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if newest is not None:
        context.maximum_version = newest
    context.sni_callback = lambda _socket, name, _context: seen.server_names.append(name)

    async def take(request):
        seen.hosts.append(request.headers["Host"])
        seen.bodies.append(await request.read())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1], seen
    finally:
        await runner.cleanup()


async def post(url, **settings):
    async with Sender(user_agent="t", timeout=5, **{"allow_private": True} | settings) as sender:
        return await sender.send(url, body=b"{}", headers={})


async def test_a_good_certificate_is_accepted_and_the_server_gets_the_name_of_the_url(
    authority, trusted, names
):
    """The connection goes to an IP address, but SNI, Host and the certificate are those of the name."""
    async with shop(authority.issue_cert(NAME)) as (port, seen):
        outcome = await post(f"https://{NAME}:{port}/hook")
    assert (outcome.status_code, outcome.error) == (204, None)
    assert seen.server_names == [NAME]
    assert seen.hosts == [f"{NAME}:{port}"]
    assert seen.bodies == [b"{}"]


async def test_each_name_at_one_address_gets_its_own_connection(authority, trusted, names):
    async with (
        shop(authority.issue_cert(NAME, "other.example")) as (port, seen),
        Sender(user_agent="t", timeout=5, allow_private=True) as sender,
    ):
        for name in (NAME, "other.example"):
            assert (await sender.send(f"https://{name}:{port}/hook", body=b"{}", headers={})).ok
    assert seen.server_names == [NAME, "other.example"]
    assert seen.hosts == [f"{NAME}:{port}", f"other.example:{port}"]


async def test_an_address_as_host_needs_a_certificate_for_it(authority, trusted):
    async with shop(authority.issue_cert("127.0.0.1")) as (port, _):
        assert (await post(f"https://127.0.0.1:{port}/hook")).ok
    async with shop(authority.issue_cert(NAME)) as (port, seen):
        outcome = await post(f"https://127.0.0.1:{port}/hook")
    assert "certificate verify failed" in (outcome.error or "")
    assert seen.bodies == []


def expired(authority):
    now = datetime.datetime.now(datetime.UTC)
    return authority.issue_cert(
        NAME, not_before=now - datetime.timedelta(days=9), not_after=now - datetime.timedelta(days=1)
    )


@pytest.mark.parametrize(
    ("issue", "reason"),
    [
        (lambda authority: authority.issue_cert("other.example"), "Hostname mismatch"),
        (lambda authority: authority.issue_cert("*.other.example"), "Hostname mismatch"),
        (expired, "certificate has expired"),
        (lambda _: trustme.CA().issue_cert(NAME), "unable to get local issuer certificate"),
    ],
    ids=["wrong name", "wrong wildcard", "expired", "unknown authority"],
)
async def test_a_bad_certificate_is_refused_before_anything_is_sent(authority, trusted, names, issue, reason):
    async with shop(issue(authority)) as (port, seen):
        outcome = await post(f"https://{NAME}:{port}/hook")
    assert outcome.status_code is None
    assert reason in (outcome.error or "")
    assert seen.bodies == []


async def test_a_self_signed_certificate_is_refused(tmp_path, authority, trusted, names):
    """Self-signed certificate."""
    lone = trustme.CA()

    class Itself:
        def configure_cert(self, context):
            path = tmp_path / "self.pem"
            lone.private_key_pem.write_to_path(path)
            lone.cert_pem.write_to_path(path, append=True)
            context.load_cert_chain(path)

    async with shop(Itself()) as (port, seen):
        outcome = await post(f"https://{NAME}:{port}/hook")
    assert "self-signed certificate" in (outcome.error or "")
    assert seen.bodies == []


async def test_allowing_plain_http_relaxes_nothing_about_https(authority, trusted, names):
    async with shop(trustme.CA().issue_cert(NAME)) as (port, _):
        outcome = await post(f"https://{NAME}:{port}/hook", allow_http=True)
    assert outcome.status_code is None


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_a_server_without_tls_1_2_is_refused(authority, trusted, names):
    async with shop(authority.issue_cert(NAME), newest=ssl.TLSVersion.TLSv1_1) as (port, seen):
        outcome = await post(f"https://{NAME}:{port}/hook")
    assert outcome.status_code is None
    assert seen.bodies == []


async def test_a_name_that_resolves_to_a_private_address_is_refused_also_with_a_good_certificate(
    authority, trusted, names
):
    async with shop(authority.issue_cert(NAME)) as (port, seen):
        outcome = await post(f"https://{NAME}:{port}/hook", allow_private=False)
    assert outcome.error == "refused: 127.0.0.1 is a loopback address"
    assert seen.server_names == [], "not even a connection was made"


async def test_a_proxy_in_the_environment_sees_nothing(authority, trusted, names, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with shop(authority.issue_cert(NAME)) as (port, seen):
        assert (await post(f"https://{NAME}:{port}/hook")).ok
    assert seen.bodies == [b"{}"]
