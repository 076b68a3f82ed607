"""What the pages of webhooks show: JSON that folds, texts of strangers, rates, and code that verifies."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from notifier.events import EventType
from notifier.signing import make_secret, signature_headers
from watcher.web.dashboard import json_view, webhooks

SECRET, OTHER = make_secret(b"k" * 32), make_secret(b"o" * 32)
BODY = '{"id":"evt_1","type":"payment.succeeded","data":{"note":"Grüße €"}}'.encode()


def test_every_type_of_event_is_explained() -> None:
    """A new type without words fails here."""
    assert set(webhooks.SAYS) == {kind.value for kind in EventType}


def test_json_folds_and_keeps_its_order() -> None:
    html = str(json_view.json_view({"b": {"c": {"d": [1, None]}}, "a": "x", "e": {}, "f": []}))
    assert html.index("&#34;b&#34;") < html.index("&#34;a&#34;")
    assert html.count("<details open>") == 2
    assert html.count("<details>") == 2
    assert html.count("<details") == html.count("</details>") == html.count("<summary>")
    for shown in ("1 field<", "2 entries", "4 fields", "null", ">{}<", ">[]<"):
        assert shown in html


def test_json_of_strangers_is_text() -> None:
    hostile = "<script>alert(1)</script>\"'&{{7*7}}\u202e"
    html = str(json_view.json_view({hostile: [hostile], "n": 1}))
    assert "<script" not in html
    assert "{{7*7}}" in html
    assert "\u202e" not in html
    assert html.count("\\u202e") == 2


def test_very_much_json_ends() -> None:
    html = str(json_view.json_view({"all": list(range(json_view.MAX_VALUES * 2)), "after": 1}))
    assert html.count("<li>") == json_view.MAX_VALUES + 1 + 1 + 1
    assert "copy the whole text" in html
    assert "after" not in html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße 👨‍👩‍👧\n\t€", "Grüße 👨‍👩‍👧\n\t€"),
        ("\x00\x07\x1b[31m", r"\u0000\u0007\u001b[31m"),
        ("a\u202eb\u2028c\ufeff\u200b", r"a\u202eb\u2028c\ufeff\u200b"),
        ("\ud800", r"\ud800"),
        ("مرحبا", "مرحبا"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, shown: str) -> None:
    assert json_view.visible(text) == shown


@pytest.mark.parametrize(
    ("attempt", "said", "ok"),
    [
        ({"status_code": 204, "error": None}, "answered 204", True),
        ({"status_code": 500, "error": None}, "answered 500", False),
        ({"status_code": None, "error": "TLS failed"}, "TLS failed", False),
        ({"status_code": None, "error": None}, "no answer", False),
    ],
)
def test_an_attempt_says_what_came_of_it(attempt: dict[str, Any], said: str, ok: bool) -> None:
    assert (webhooks.outcome(attempt), webhooks.is_ok(attempt)) == (said, ok)


def test_what_is_sent_again_is_told_in_whole_sentences() -> None:
    assert webhooks.told(0, True) == "There was nothing to send."
    assert webhooks.told(1, True) == "1 webhook is sent again."
    assert webhooks.told(1200, False).startswith("1,200 webhooks are sent again, and more follow")


def test_an_endpoint_that_is_gone_can_still_be_chosen() -> None:
    known = [{"id": "we_1", "url": "https://shop.example/"}]
    assert webhooks.endpoint_options(known) == [("", "any"), ("we_1", "https://shop.example/")]
    assert webhooks.endpoint_options(known, "we_0")[1] == ("we_0", "we_0")


#: How a language is run: the snippet, then this, which reads {body, headers, secret} and prints the id.
RUNNERS = {
    "py": (
        [sys.executable, "-"],
        "import sys\nasked = json.loads(open(sys.argv[1]).read())\n"
        "print(verify(asked['body'].encode(), asked['headers'], asked['secret'])['id'])\n",
    ),
    "mjs": (
        ["node", "--input-type=module", "-"],
        'import { readFileSync } from "node:fs";\n'
        "const asked = JSON.parse(readFileSync(process.argv[2]));\n"
        "console.log(verify(Buffer.from(asked.body), asked.headers, asked.secret).id);\n",
    ),
    "rb": (
        ["ruby", "-"],
        'asked = JSON.parse(File.read(ARGV[0], encoding: "UTF-8"))\n'
        'puts verify(asked["body"], asked["headers"], asked["secret"])["id"]\n',
    ),
}


def run(language: str, folder: Path, **asked: Any) -> subprocess.CompletedProcess[str]:
    command, more = RUNNERS[language]
    if shutil.which(command[0]) is None:
        needed = {"mjs": "REQUIRE_NODE", "rb": "REQUIRE_RUBY"}[language]
        assert not os.environ.get(needed), f"{command[0]} is not installed"
        pytest.skip(f"{command[0]} is not installed: its snippet was not run")
    [snippet] = [one for one in webhooks.snippets() if one.language == language]
    (folder / "asked.json").write_text(json.dumps(asked, ensure_ascii=False), "utf-8")
    return subprocess.run(
        [*command, str(folder / "asked.json")],
        input=snippet.code + more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("language", RUNNERS)
def test_the_snippets_take_what_is_genuine_and_nothing_else(language: str, tmp_path: Path) -> None:
    """Each is run as it stands on the page."""

    def verify(body: bytes = BODY, secret: str = SECRET, *, age: int = 0, **more: Any) -> str:
        at = int(time.time()) - age
        headers = signature_headers(id="evt_1", timestamp=at, body=BODY, secrets=more.get("by", [SECRET]))
        lowered = {name.lower(): value for name, value in headers.items()} | more.get("changed", {})
        done = run(language, tmp_path, body=body.decode(), headers=lowered, secret=secret)
        assert (done.returncode == 0) == (done.stdout == "evt_1\n"), done.stderr
        return done.stdout.strip() or done.stderr

    assert verify() == "evt_1"
    assert verify(by=[OTHER, SECRET]) == "evt_1", "while the secret is being rotated"
    assert "no signature fits" in verify(secret=OTHER)
    assert "no signature fits" in verify(BODY.replace(b"succeeded", b"failed"))
    assert "no signature fits" in verify(changed={"webhook-id": "evt_2"})
    assert "no signature fits" in verify(changed={"webhook-signature": "v1,x v2,y"})
    assert "too old" in verify(age=301)
    assert verify(changed={"webhook-timestamp": "soon"}) != "evt_1"
