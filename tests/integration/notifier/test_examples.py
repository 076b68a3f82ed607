"""The receivers in examples/ and the npm libraries, with real deliveries of the worker."""

import asyncio
import base64
import importlib.util
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from werkzeug.serving import make_server

from notifier import deliveries, endpoints
from notifier.events import MAX_BODY_BYTES, EventType, event_body, event_id
from notifier.secrets import PLAIN

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"

#: SQLite only: the database makes no difference here.
pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory):
    """The Node examples with exactly the packages of their lock file."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed here: the examples for Node were not run")
    folder = tmp_path_factory.mktemp("node")
    for path in EXAMPLES.joinpath("node").iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"npm ci failed:\n{done.stderr}"
    return folder


def test_the_lock_file_names_no_registry_and_pins_every_package(backend):
    lock = json.loads((EXAMPLES / "node" / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(packages) > 50
    assert all(entry["integrity"] and "resolved" not in entry for entry in packages.values())


@asynccontextmanager
async def listening(*command, **environment):
    """Run a program that listens on a socket of ours; yield its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = await asyncio.create_subprocess_exec(
            *(part.format(fd=server.fileno()) for part in command),
            cwd=EXAMPLES / "python",
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            pass_fds=[server.fileno()],
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            # The socket listens already: connections made before the program accepts are served once it does.
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            process.kill()
            await process.wait()


@asynccontextmanager
async def node(folder, **environment):
    """Run the Node receiver; yield its base URL and its output, line by line."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "receiver.mjs",
        cwd=folder,
        env=os.environ | {"PORT": "0"} | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(20):
            first = json.loads(await process.stdout.readline())
        yield f"http://127.0.0.1:{first['listening']}", process.stdout
    finally:
        process.kill()
        await process.wait()


async def post_forged(url):
    """Send an unsigned request and return the status."""
    headers = {"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    async with aiohttp.ClientSession() as session, session.post(url, data=b"{}", headers=headers) as answer:
        return answer.status


def tell_largest(shop, clock):
    """Enqueue an event with a body of the largest size, and return its id."""

    def body(note):
        data = {"payment_intent": {"id": "pi_large", "note": note}}
        id_ = event_id("pi_large", EventType.SUCCEEDED, 0)
        return event_body(id=id_, type=EventType.SUCCEEDED, created_at=clock(), sequence=1, data=data)

    largest = body("x" * (MAX_BODY_BYTES - len(body(""))))
    assert len(largest) == MAX_BODY_BYTES
    return shop.enqueue("pi_large", body=largest)


async def deliver_twice(shop, engine, drain, clock, id_):
    """Deliver a success and a test event, and the success again; return their ids."""
    paid = shop.enqueue("pi_1", EventType.SUCCEEDED)
    with engine.begin() as conn:
        test, _ = endpoints.send_test(conn, id_, now=clock())
    assert await drain(timeout=15.0)
    with engine.begin() as conn:
        deliveries.redeliver(conn, paid, now=clock())
    assert await drain()
    assert [(row.status, row.last_status_code) for row in shop.deliveries()] == [("delivered", 204)] * 3
    return paid, test


def move(engine, id_, url):
    with engine.begin() as conn:
        endpoints.modify(conn, id_, url=f"{url}/webhooks")


def rows(path, query):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


FASTAPI = (
    *(sys.executable, "-m", "uvicorn", "fastapi_receiver:app"),
    *("--fd", "{fd}", "--log-level", "critical"),
)


async def test_the_fastapi_receiver_takes_each_event_once(shop, engine, drain, clock, tmp_path):
    id_ = shop.endpoint()
    path = tmp_path / "shop.db"
    async with listening(*FASTAPI, WEBHOOK_SECRET=shop.secrets[id_], SHOP_DATABASE=str(path)) as url:
        move(engine, id_, url)
        paid, test = await deliver_twice(shop, engine, drain, clock, id_)
        assert await post_forged(f"{url}/webhooks") == 400
        large = tell_largest(shop, clock)
        assert await drain()
    assert sorted(rows(path, "SELECT id FROM webhook")) == sorted([(paid,), (test,), (large,)])
    assert rows(path, "SELECT * FROM story WHERE intent = 'pi_1'") == [("pi_1", 1, "payment.succeeded")]


async def test_the_fastapi_receiver_does_not_let_an_older_event_overwrite_a_newer_one(
    shop, engine, drain, clock, tmp_path
):
    id_ = shop.endpoint()
    path = tmp_path / "shop.db"
    async with listening(*FASTAPI, WEBHOOK_SECRET=shop.secrets[id_], SHOP_DATABASE=str(path)) as url:
        move(engine, id_, url)
        shop.enqueue("pi_1", EventType.FAILED, sequence=2)
        assert await drain(timeout=15.0)
        shop.enqueue("pi_1", EventType.SUCCEEDED, sequence=1)
        assert await drain()
    assert {row.status for row in shop.deliveries()} == {"delivered"}
    assert rows(path, "SELECT * FROM story") == [("pi_1", 2, "payment.failed")]


async def test_the_flask_receiver_takes_each_event_once(shop, engine, drain, clock, tmp_path, monkeypatch):
    id_ = shop.endpoint()
    path = tmp_path / "shop.db"
    monkeypatch.setenv("WEBHOOK_SECRET", shop.secrets[id_])
    monkeypatch.setenv("SHOP_DATABASE", str(path))
    spec = importlib.util.spec_from_file_location("flask_receiver", EXAMPLES / "python" / "flask_receiver.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = make_server("127.0.0.1", 0, module.app)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        move(engine, id_, f"http://127.0.0.1:{server.server_port}")
        paid, test = await deliver_twice(shop, engine, drain, clock, id_)
        assert await post_forged(f"http://127.0.0.1:{server.server_port}/webhooks") == 400
        large = tell_largest(shop, clock)
        assert await drain()
    finally:
        await asyncio.to_thread(server.shutdown)
        thread.join(10)
        server.server_close()
    assert sorted(rows(path, "SELECT id FROM webhook")) == sorted([(paid,), (test,), (large,)])
    assert ("pi_1", "payment.succeeded") in rows(path, "SELECT * FROM paid")


async def test_the_express_receiver_takes_each_event_once(shop, engine, drain, clock, node_folder):
    id_ = shop.endpoint()
    async with node(node_folder, WEBHOOK_SECRET=shop.secrets[id_]) as (url, output):
        move(engine, id_, url)
        paid, test = await deliver_twice(shop, engine, drain, clock, id_)
        assert await post_forged(f"{url}/webhooks") == 400
        third = shop.enqueue("pi_2")
        assert await drain()
        large = tell_largest(shop, clock)
        assert await drain()
        async with asyncio.timeout(10):
            seen = [json.loads(await output.readline())["id"] for _ in range(4)]
    assert sorted(seen[:2]) == sorted([paid, test])
    assert seen[2:] == [third, large], "between them nothing was printed for the resend"
    assert {row.status for row in shop.deliveries()} == {"delivered"}


def ask_npm(folder, secrets, headers, body):
    """Return the exit code and each npm library's verdict on a captured delivery."""
    question = {"secrets": secrets, "headers": headers, "body": base64.b64encode(body).decode()}
    done = subprocess.run(
        ["node", "verify.mjs"],
        cwd=folder,
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_the_npm_libraries_accept_a_captured_delivery_with_either_secret_of_a_rotation(
    shop, engine, receiver, drain, clock, node_folder
):
    id_ = shop.endpoint(receiver=receiver, legacy_v0=True)
    old = shop.secrets[id_]
    with engine.begin() as conn:
        _, current = endpoints.rotate_secret(conn, id_, secret_store=PLAIN, now=clock())
    event = shop.enqueue()
    await drain()
    [arrival] = receiver.arrivals
    code, verdicts = await asyncio.to_thread(
        ask_npm, node_folder, [old, current], arrival.headers, arrival.body
    )
    assert (code, len(verdicts)) == (0, 6), verdicts
    assert {(one["library"], one["id"]) for one in verdicts} == {
        (library, event) for library in ("standardwebhooks", "svix", "stripe")
    }


async def test_the_npm_libraries_refuse_a_changed_body(shop, receiver, drain, node_folder):
    """Proves that they can reject."""
    id_ = shop.endpoint(receiver=receiver)
    shop.enqueue()
    await drain()
    [arrival] = receiver.arrivals
    body = arrival.body.replace(b"pi_1", b"pi_2")
    code, verdicts = await asyncio.to_thread(ask_npm, node_folder, [shop.secrets[id_]], arrival.headers, body)
    assert code == 1
    assert [one["accepted"] for one in verdicts] == [False] * 3
