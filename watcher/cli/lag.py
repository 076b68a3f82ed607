"""Diagnosis of lag: whether the chain, a source or the daemon is behind, and what happens next (pure)."""

from collections.abc import Mapping
from typing import Any

from watcher.cli.format import span
from watcher.cli.render import count

#: Age of the newest block from which the chain counts as stalled, seconds; blocks are at most minutes apart.
STALLED_AFTER_SECONDS = 600.0

#: Seconds without a poll after which the daemon counts as stopped.
SILENT_AFTER_SECONDS = 600.0

_SOURCE_STATES = {
    "failing": "does not serve: it is retried after a pause, longer each time",
    "limited": "its request budget is used up, or it asks to wait: it is retried when it allows",
    "refused": "refuses our requests: a person must act",
    "unknown": "has not answered yet",
}


def diagnose(found: Mapping[str, Any]) -> list[str]:
    """Return a line per lagging party, with what happens next, from a status document."""
    if found["cursor"] is None:
        return []
    lines = [*_us(found), *_sources(found), *_chain(found)]
    if found["halted"] is not None:
        lines.insert(0, f"We: halted until this clears: {found['halted']['hint']}")
    return lines


def _us(found: Mapping[str, Any]) -> list[str]:
    lag = found["lag"]
    lines = []
    silent = lag["api_seconds"]
    if silent is not None and silent > SILENT_AFTER_SECONDS:
        lines.append(f"We: the chain has not been polled for {span(silent)}. Start `sbtc-watcher run`")
    if lag["blocks"] and found["halted"] is None:
        behind = f"{count(lag['blocks'], 'block')} ({span(lag['our_seconds'])} of chain time) behind the tip"
        doing = "nothing happens while no daemon runs" if lines else "catching up, up to 50 blocks a commit"
        lines.append(f"We: {behind}: {doing}. Deadlines go by the applied blocks, so nothing expires early")
    return lines


def _sources(found: Mapping[str, Any]) -> list[str]:
    sources = found["sources"]
    newest = max((source.get("tip_height") or 0 for source in sources), default=0)
    served = [source["url"] for source in sources if source.get("state") == "ok"]
    instead = served[0] if served else "no other source"
    lines = []
    for source in sources:
        state, note = source.get("state"), source.get("note")
        if state == "lagging":
            behind = newest - (source.get("tip_height") or 0)
            how_far = f"{count(behind, 'block')} behind the others" if behind > 0 else "behind the known tip"
            lines.append(f"API: {source['url']} is {how_far}; {instead} serves until it has caught up")
        elif state in _SOURCE_STATES:
            why = f" ({note})" if note else ""
            lines.append(f"API: {source['url']} {_SOURCE_STATES[state]}{why}; {instead} serves meanwhile")
    return lines


def _chain(found: Mapping[str, Any]) -> list[str]:
    age = found["lag"]["chain_seconds"]
    silent = found["lag"]["api_seconds"]
    if age is None or age <= STALLED_AFTER_SECONDS or (silent is not None and silent > SILENT_AFTER_SECONDS):
        return []
    sound = sum(source.get("state") == "ok" for source in found["sources"])
    newest = f"no source knows a block younger than {span(age)}"
    if sound > 1:
        agreed = f"{newest}, and {sound} sources agree: it makes no blocks"
        return [f"Chain: {agreed}. We keep polling; nothing expires"]
    return [
        f"Chain, or the only source that serves: {newest}. We keep polling; nothing expires."
        " A second URL in api_urls would tell which of them it is"
    ]
