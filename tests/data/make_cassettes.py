"""Make the vcrpy cassettes in ``cassettes/`` from the recordings in ``stacks-api/``.

Usage: ``python tests/data/make_cassettes.py``. A cassette holds one story; several recordings ask the same question at
different times, so they cannot share one.
"""

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

from vcr.serializers import yamlserializer

HERE = Path(__file__).parent
BASE = "http://stacks-api.test"

STORIES = {
    "status": ["status-v9", "err-proxy-no-node"],
    "headers": [
        "v2-blocks",
        "v2-blocks-offset-neg",
        "v2-block-by-height",
        "v2-block-by-index-hash",
        "err-block-404-v2",
    ],
    "after-reorg": [
        "reorg-2-blocks-cursor-orphan",
        "reorg-2-orphan-by-index-hash",
        "reorg-2-block-by-height",
        "reorg-2-tx-multiple",
        "reorg-page-by-hash-2",
    ],
    "transactions": [
        "v3-transactions",
        "v3-transactions-limit-50",
        "v3-transactions-cursor-at-height",
        "v3-transactions-cursor-above-tip",
    ],
    "block-transactions": [
        "v3-block-transactions",
        "v3-block-transactions-page1",
        "v3-block-transactions-page2",
        "big-block-page",
    ],
    "details": ["v1-tx-multiple"],
    "many-events": ["tx-multiple-many-events", "tx-multiple-many-events-offset"],
    "conditional": ["etag-block-tx-200", "etag-block-tx-304"],
    "errors": [
        "deprecated-off-410",
        "err-block-404-v3",
        "err-limit",
        "err-cursor",
        "err-offset-max",
        "err-route",
        "err-tx-no0x",
        "tx-multiple-no0x",
    ],
}


def interaction(recording: dict[str, Any]) -> dict[str, Any]:
    """Turn one recording into vcrpy's form; bodies are stored compact, as servers send them."""
    request, body = recording["request"], recording["body"]
    return {
        "request": {
            "method": request["method"],
            "uri": BASE + request["path"],
            "headers": {name: [value] for name, value in request["headers"].items()},
            "body": "",
        },
        "response": {
            "status": {"code": recording["status"], "message": HTTPStatus(recording["status"]).phrase},
            "headers": {name: [value] for name, value in recording["response_headers"].items()},
            "body": {"string": "" if body is None else json.dumps(body, separators=(",", ":"))},
        },
    }


def main() -> None:
    """Write every cassette."""
    target = HERE / "cassettes"
    target.mkdir(exist_ok=True)
    for story, names in STORIES.items():
        recordings = [json.loads((HERE / "stacks-api" / f"{name}.json").read_text()) for name in names]
        cassette = {"version": 1, "interactions": [interaction(recording) for recording in recordings]}
        (target / f"{story}.yaml").write_text(yamlserializer.serialize(cassette))


if __name__ == "__main__":
    main()
