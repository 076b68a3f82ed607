"""The daemon in operation: systemd's notify socket, health, metrics, stopping."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chain.testing import principal, txs
from notifier.testing import plan_of
from tests import harness
from tests.acceptance.serving import only, samples, until
from tests.deployment import PROGRAM, ROOT, Deployment

PAYER = principal("payer")

#: Every metric name that users rely on, without prefix, with its labels.
NAMES = {
    "tip_height": {"kind"},
    "tip_age_seconds": set(),
    "lag_blocks": set(),
    "reorgs_total": set(),
    "reorg_depth_blocks": set(),
    "source_up": {"source"},
    "source_requests_total": {"source", "code"},
    "source_request_seconds": set(),
    "intents": {"status"},
    "intent_transitions_total": {"from", "to"},
    "attention": set(),
    "unmatched_total": {"reason"},
    "unknown_words_total": {"kind"},
    "outbox_pending": set(),
    "outbox_oldest_seconds": set(),
    "deliveries_total": {"result"},
    "delivery_seconds": set(),
    "payment_latency_seconds": set(),
    "step_seconds": set(),
    "audited_blocks_total": set(),
    "audit_gaps_total": set(),
    "reindex_progress": set(),
    "settle_backlog": set(),
    "last_poll_seconds": set(),
    "clock_skew_seconds": set(),
    "writable": set(),
    "halted": set(),
}
HISTOGRAMS = {
    "reorg_depth_blocks",
    "source_request_seconds",
    "delivery_seconds",
    "payment_latency_seconds",
    "step_seconds",
}


class Manager:
    """The service manager's end of the notify socket."""

    def __init__(self, bound: socket.socket) -> None:
        self._bound = bound
        self.heard: list[str] = []

    async def hear(self, wanted: str, *, within: float = 20.0) -> str:
        """Wait for a message with this beginning, and return it."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(within):
            while True:
                message = (await loop.sock_recv(self._bound, 4096)).decode()
                self.heard.append(message)
                if message.startswith(wanted):
                    return message


@contextmanager
def managing(name: str) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        bound.setblocking(False)
        yield Manager(bound)


@pytest.mark.parametrize("kind", ["path", "abstract"])
async def test_systemd_is_notified_of_start_progress_and_stop(
    served: Deployment, tmp_path: Path, kind: str
) -> None:
    """READY after migrations, HTTP and the first poll; then watchdog and status line; then STOPPING."""
    name = str(tmp_path / "notify") if kind == "path" else f"@sbtc-watcher-acceptance-{os.getpid()}"
    served.environment |= {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "120000000"}
    with managing(name) as manager:
        daemon = await served.start()
        await manager.hear("READY=1")
        async with httpx.AsyncClient(base_url=await served.url()) as client:
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/readyz")).status_code == 200
        status = await manager.hear("STATUS=")
        assert (
            status
            == f"STATUS=following: block {served.chain.tip.height}, Bitcoin {served.chain.tip.burn_height}"
        )
        for _ in range(3):
            await manager.hear("WATCHDOG=1")
        served.chain.mine()
        assert str(served.chain.tip.height) in await manager.hear("STATUS=")
        daemon.send_signal(signal.SIGTERM)
        await manager.hear("STOPPING=1")
        assert await asyncio.wait_for(daemon.wait(), 10) == 0
    assert manager.heard.count("READY=1") == 1


async def test_a_start_without_a_source_is_ready_for_systemd_but_not_for_money(
    served: Deployment, tmp_path: Path
) -> None:
    """A failed first poll counts too: the unit must not fail because a source is down."""
    served.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    with managing(served.environment["NOTIFY_SOCKET"]) as manager:
        served.api.faults.fail(503, times=None)
        await served.start()
        await manager.hear("READY=1")
        async with httpx.AsyncClient(base_url=await served.url()) as client:
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert [reason["code"] for reason in answer.json()["reasons"]] == ["starting"]
            assert (await client.get("/healthz")).status_code == 200
            assert (await manager.hear("STATUS=")).startswith("STATUS=waiting: ")
            served.api.faults.clear()
            await until(client, "/readyz", 200)


async def test_a_notifier_feeds_the_watchdog_and_serves_health_without_polling_the_chain(
    served: Deployment, tmp_path: Path
) -> None:
    follower = await served.start(*PROGRAM, "run", "--role", "follower")
    await served.caught_up()
    served.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "120000000"}
    with managing(served.environment["NOTIFY_SOCKET"]) as manager:
        notifier = await served.start(*PROGRAM, "run", "--role", "notifier")
        await manager.hear("READY=1")
        assert "WATCHDOG=1" in manager.heard
        assert await manager.hear("STATUS=") == "STATUS=serving"
        async with httpx.AsyncClient(base_url=await served.url(daemon=1)) as client:
            assert (await client.get("/readyz")).status_code == 200
            found = samples((await client.get("/metrics")).text)
            assert only(found["source_up"], source=served.api.url) == 1
            assert "source_requests_total" not in found, "a notifier asks no source"
        notifier.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(notifier.wait(), 10) == 0
    assert follower.returncode is None


async def test_a_payment_moves_the_metrics_and_every_name_is_there(served: Deployment) -> None:
    shop = await served.shop(events="payment.succeeded")
    await served.start()
    await served.caught_up()
    paid = await served.json("intents", "create", "--merchant", shop["merchant"], "--amount", "50000")
    stray = txs.sbtc_transfer(PAYER, harness.SHOP, 7, b"NOBODY")
    async with httpx.AsyncClient(base_url=await served.url()) as client:
        before = samples((await client.get("/metrics")).text)
        assert only(before["intents"], status="pending") == 1
        payment = txs.sbtc_transfer(PAYER, paid["recipient"], 50_000, paid["pay"]["memo"].encode())
        began = time.time()
        served.chain.mine([payment, stray])
        await served.receiver.wait_for(1)
        took = time.time() - began
        await served.caught_up()
        served.chain.mine()
        await served.caught_up()
        served.chain.reorg(1, [[], []])
        await served.caught_up()
        after = await settled(client)

        kinds = {
            family.name: family
            for family in text_string_to_metric_families((await client.get("/metrics")).text)
        }
    for name, labels in NAMES.items():
        family = kinds[f"sbtc_watcher_{name.removesuffix('_total')}"]
        assert family.documentation, name
        assert family.samples, name
        assert {label for sample in family.samples for label in sample.labels} - {"le"} == labels, name
        assert (family.type == "histogram") == (name in HISTOGRAMS), name
        assert (family.type == "counter") == name.endswith("_total"), name
    # Counters without an event have no samples.
    names = {family.removeprefix("sbtc_watcher_") for family in kinds}
    assert names == {name.removesuffix("_total") for name in NAMES} | {"unforeseen"}

    tip = served.chain.tip.height
    assert only(after["tip_height"], kind="chain") == only(after["tip_height"], kind="indexed") == tip
    assert only(after["lag_blocks"]) == 0
    assert 0 <= only(after["tip_age_seconds"]) < 600
    assert only(after["source_up"], source=served.api.url) == 1
    assert only(after["source_requests_total"], source=served.api.url, code="200") > 1
    assert only(after["source_request_seconds_count"]) > only(before["source_request_seconds_count"])
    assert after["intents"] == {
        (("status", status),): float(status == "succeeded")
        for status in ("pending", "processing", "succeeded", "failed", "expired", "canceled")
    }
    assert after["intent_transitions_total"] == {(("from", "pending"), ("to", "succeeded")): 1.0}
    assert after["unmatched_total"] == {(("reason", "no_intent"),): 1.0}
    assert after["deliveries_total"] == {(("result", "delivered"),): 1.0}
    assert only(after["delivery_seconds_count"]) == 1
    assert only(after["payment_latency_seconds_count"]) == 1
    assert 0 < only(after["payment_latency_seconds_sum"]) <= took + 1, (
        "a poll may have begun before the block was there"
    )
    assert only(after["reorgs_total"]) == 1
    assert only(after["reorg_depth_blocks_sum"]) == 1
    assert only(after["step_seconds_count"]) >= 3
    assert (only(after["outbox_pending"]), only(after["outbox_oldest_seconds"])) == (0, 0)
    assert (only(after["attention"]), only(after["halted"]), only(after["reindex_progress"])) == (0, 0, 1)


async def settled(client: httpx.AsyncClient) -> dict[str, Any]:
    """Return the metrics once the reorg is counted: the database shows it a moment before the counter."""
    async with asyncio.timeout(20):
        while True:
            found = samples((await client.get("/metrics")).text)
            if only(found["reorgs_total"]) and found.get("deliveries_total"):
                return found
            await asyncio.sleep(0.05)


async def test_a_delivery_that_is_retried_counts_its_latency_once(served: Deployment) -> None:
    shop = await served.shop(events="payment.succeeded")
    served.receiver.plan(*plan_of([500, 500]), path="/hook")
    await served.start()
    await served.caught_up()
    paid = await served.json("intents", "create", "--merchant", shop["merchant"], "--amount", "50000")
    served.chain.mine([txs.sbtc_transfer(PAYER, paid["recipient"], 50_000, paid["pay"]["memo"].encode())])
    await served.receiver.wait_for(3)
    async with httpx.AsyncClient(base_url=await served.url()) as client, asyncio.timeout(20):
        while True:
            found = samples((await client.get("/metrics")).text)
            if (("result", "delivered"),) in found.get("deliveries_total", {}):
                break
            await asyncio.sleep(0.05)
    assert found["deliveries_total"] == {(("result", "pending"),): 2.0, (("result", "delivered"),): 1.0}
    assert only(found["delivery_seconds_count"]) == 3
    assert only(found["payment_latency_seconds_count"]) == 1


@pytest.mark.parametrize("role", ["all", "api", "api,notifier"])
async def test_the_api_on_a_port_in_use_is_one_line_and_exit_code_2(served: Deployment, role: str) -> None:
    """A second process with the API names the setting for a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        served.environment["SBTC_WATCHER_HTTP_BIND"] = address
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, "run", "--role", role, env=served.environment, cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(30):
            _, err = await process.communicate()
    lines = [line for line in err.decode().splitlines() if not line.startswith("{")]
    assert process.returncode == 2
    assert lines[0] == f"error: http_bind: cannot listen on {address}: address already in use"
    assert len(lines) == 2
    assert lines[1].startswith("hint: ")
    assert "SBTC_WATCHER_HTTP_BIND=127.0.0.1:0" in lines[1]


async def test_roles_without_the_api_share_a_machine_and_its_settings(served: Deployment) -> None:
    """Follower and notifier with the same http_bind: the second logs it, and delivers without HTTP."""
    shop = await served.shop(events="payment.succeeded")
    with socket.create_server(("127.0.0.1", 0)) as free:
        served.environment["SBTC_WATCHER_HTTP_BIND"] = f"127.0.0.1:{free.getsockname()[1]}"
    follower = await served.start(*PROGRAM, "run", "--role", "follower")
    await served.caught_up()
    notifier = await served.start(*PROGRAM, "run", "--role", "notifier")
    paid = await served.json("intents", "create", "--merchant", shop["merchant"], "--amount", "50000")
    served.chain.mine([txs.sbtc_transfer(PAYER, paid["recipient"], 50_000, paid["pay"]["memo"].encode())])
    await served.receiver.wait_for(1)
    for process in (notifier, follower):
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    written = (served.folder / "daemon.log").read_text().splitlines()
    events = [json.loads(line) for line in written]
    assert [line["event"] for line in events if line["event"].startswith("http.")] == [
        "http.bound",
        "http.left_out",
    ]
    [left_out] = [line for line in events if line["event"] == "http.left_out"]
    assert (left_out["level"], "SBTC_WATCHER_HTTP_BIND" in left_out["hint"]) == ("warning", True)


def test_an_unforeseen_exception_is_critical_in_the_journal(tmp_path: Path) -> None:
    """Each line of the traceback: `journalctl -p crit` shows why the unit died."""
    code = "import sys, watcher.cli.app as app; app.call = lambda _: 1 // 0; sys.argv[1:] = []; app.main()"
    with (tmp_path / "journal").open("wb") as journal:
        found = os.fstat(journal.fileno())
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"},
            cwd=ROOT,
            stderr=journal,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    written = (tmp_path / "journal").read_text().splitlines()
    assert written[-1] == "<2>ZeroDivisionError: integer division or modulo by zero"
    assert {line[:3] for line in written} == {"<2>"}


async def test_a_refused_start_is_an_error_in_the_journal(deployment: Deployment) -> None:
    """Errors before logging starts have a priority too: `journalctl -p err` shows why the unit failed."""
    deployment.environment["SBTC_WATCHER_NETWORK"] = "atlantis"
    log = deployment.folder / "journal"
    with log.open("wb") as journal:
        found = os.fstat(journal.fileno())
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            "run",
            env=deployment.environment | {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"},
            cwd=ROOT,
            stderr=journal,
        )
        async with asyncio.timeout(30):
            assert await process.wait() == 2
    assert re.fullmatch(r"<3>error: network \(SBTC_WATCHER_NETWORK\): must be .*\n", log.read_text())


async def test_a_stop_is_quick_though_a_client_hangs_on_to_its_connection(served: Deployment) -> None:
    daemon = await served.start()
    url = httpx.URL(await served.url())
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")  # without the end of the head
    await writer.drain()
    began = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(daemon.wait(), 10) == 0
    assert time.monotonic() - began < 10
    assert await reader.read() in (b"", b"Invalid HTTP request received.")
    writer.close()


async def test_status_can_be_watched_in_a_pipe_and_ends_quietly(deployment: Deployment) -> None:
    """Plain lines without a terminal; Ctrl-C gives the exit code of the last status."""
    await deployment.start()
    await deployment.caught_up()
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *("status", "--watch"),
        env=deployment.environment,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        lines = [(await process.stdout.readline()).decode() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\S+Z ok height=\d+ burn_height=\d+ ", line), line
    assert (process.returncode, err.decode()) == (0, "")
