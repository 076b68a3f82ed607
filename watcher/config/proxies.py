"""Proxy settings of the environment, which this program does not use."""

from collections.abc import Mapping

_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def ignored(environment: Mapping[str, str]) -> str | None:
    """Return a line that names the proxy variables that are set and not used; None when none is."""
    names = [name for name in environment if name.upper() in _NAMES and environment[name]]
    if not names:
        return None
    verb = "is" if len(names) == 1 else "are"
    return f"{', '.join(sorted(names))} {verb} set, but not used: sources and webhook endpoints are reached directly"
