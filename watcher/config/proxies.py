"""Proxy variables of the environment, which sbtc-watcher does not use."""

from collections.abc import Mapping

_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def ignored(environment: Mapping[str, str]) -> str | None:
    """Return a warning that names the proxy variables that are set; None when none is."""
    names = [name for name in environment if name.upper() in _NAMES and environment[name]]
    if not names:
        return None
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{', '.join(sorted(names))} {verb} set, but not used: "
        "sources and webhook endpoints are reached directly"
    )
