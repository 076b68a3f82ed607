"""The note beside a source in ``status``."""

import pytest

from watcher.cli.commands.status import source_note


@pytest.mark.parametrize(
    ("source", "note"),
    [
        ({}, None),
        ({"note": None, "websocket": None}, None),
        ({"note": None, "websocket": "open"}, None),
        ({"note": "network not verified", "websocket": "open"}, "network not verified"),
        ({"note": None, "websocket": "closed: HTTP 502"}, "websocket closed: HTTP 502"),
        ({"note": "slow", "websocket": "closed: HTTP 502"}, "slow; websocket closed: HTTP 502"),
        ({"note": None, "reading": "batches"}, None),
        ({"note": None, "reading": "single"}, "reads events one by one"),
    ],
)
def test_a_lost_socket_is_named_beside_what_else_is_wrong(
    source: dict[str, str | None], note: str | None
) -> None:
    assert source_note(source) == note
