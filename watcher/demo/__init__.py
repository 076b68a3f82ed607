"""The demo: the whole program in one terminal, on a scripted chain, without network or set-up.

Only the chain's content is scripted. The daemon polls a Stacks API over HTTP and commits to a database; the
shops receive their webhooks over HTTP and verify them with the public library.
"""

import asyncio
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

from rich.console import Console

from watcher.daemon import main as daemon_main
from watcher.demo.daemon_log import collect_log
from watcher.demo.environment import Environment, Shop, TimedOut, open_environment
from watcher.demo.outcome import Outcome
from watcher.demo.runner import Pace, SceneRunner, count_webhooks
from watcher.demo.scenes import SCENES
from watcher.demo.screen import Screen

FAST = Pace(row=0.0, scene=0.0, schedule=(0.0, 0.2, 0.3, 0.3, 0.3), limit=60.0)
READABLE = Pace(row=0.9, scene=1.5, schedule=(0.0, 1.0, 2.0, 2.0, 2.0), limit=180.0)

#: Exit code after Ctrl-C.
INTERRUPTED = 130
#: Exit code when the reader of the output went away.
READER_GONE = 141


class _ReaderGone(Exception):
    """The reader of the output went away."""


def run(fast: bool, console: Console | None = None, *, closed: Collection[str] = ()) -> int:
    """Play all scenes and return the exit code: 0 if exactly the expected webhooks arrived, else 1.

    130 after Ctrl-C or SIGTERM, 141 when the reader of the output went away.

    ``closed`` names scenes whose shop refuses every webhook, to see the demo fail.
    """
    screen = Screen(console or Console())
    pace = FAST if fast else READABLE
    with collect_log() as journal:
        try:
            with tempfile.TemporaryDirectory(prefix="sbtc-watcher-demo-") as folder:
                return asyncio.run(_run_daemon_and_scenes(Path(folder), screen, pace, frozenset(closed)))
        except TimedOut as stuck:
            screen.trouble(str(stuck), journal.getvalue())
            return 1
        except _ReaderGone:
            return READER_GONE
        except KeyboardInterrupt:
            return INTERRUPTED


async def _run_daemon_and_scenes(folder: Path, screen: Screen, pace: Pace, closed: frozenset[str]) -> int:
    """Run the daemon and the scenes side by side; whichever ends first stops the other."""
    async with open_environment(folder, schedule=pace.schedule) as environment:
        stop = asyncio.Event()
        daemon = asyncio.create_task(
            daemon_main.serve(environment.settings, environment.database, daemon_main.ROLES, stop=stop)
        )
        play = asyncio.create_task(_run_scenes(environment, screen, pace, closed))
        try:
            await asyncio.wait({daemon, play}, timeout=pace.limit, return_when=asyncio.FIRST_COMPLETED)
            if play.done():
                return play.result()
            if daemon.done():
                # A signal stopped it (the handlers are the daemon's), or it failed, which raises here.
                daemon.result()
                return INTERRUPTED
            raise TimedOut(f"the demo did not end within {pace.limit:g} s")
        finally:
            play.cancel()
            stop.set()
            await asyncio.wait({daemon, play})


async def _run_scenes(environment: Environment, screen: Screen, pace: Pace, closed: frozenset[str]) -> int:
    try:
        return await _play_scenes(environment, screen, pace, closed)
    except SystemExit as error:  # rich raises it on a closed pipe; it would tear down the event loop
        raise _ReaderGone from error


async def _play_scenes(environment: Environment, screen: Screen, pace: Pace, closed: frozenset[str]) -> int:
    began = time.monotonic()
    screen.intro(
        environment.api.url.removeprefix("http://"), environment.receiver.base.removeprefix("http://")
    )
    outcomes = [Outcome(title=scene.title, expected=scene.expects) for scene in SCENES]
    shops: list[Shop] = []
    stuck: TimedOut | None = None  # raised after the summary has named what is missing
    try:
        await environment.followed()
        await asyncio.sleep(2 * pace.scene)
        for number, (scene, outcome) in enumerate(zip(SCENES, outcomes, strict=True), start=1):
            screen.scene(number, scene.title, scene.about)
            shops.append(await environment.open_shop(scene.name))
            runner = SceneRunner(environment, screen, pace, shops[-1])
            if scene.name in closed:
                runner.close_shop()
            scene_began = time.monotonic()
            await scene.play(runner)
            outcome.seconds = time.monotonic() - scene_began
            await asyncio.sleep(pace.scene)
        # Webhooks after the end of their scene count too: mine one more block, finish every delivery.
        environment.chain.mine(burn=True)
        await environment.followed()
        await environment.delivered()
    except TimedOut as error:
        stuck = error
    for shop, outcome in zip(shops, outcomes, strict=False):
        await count_webhooks(environment, shop, outcome)
    screen.summary(outcomes, time.monotonic() - began)
    if stuck is not None:
        raise stuck
    screen.next_steps()
    return 0 if all(outcome.good for outcome in outcomes) else 1


__all__ = ["INTERRUPTED", "READER_GONE", "run"]
