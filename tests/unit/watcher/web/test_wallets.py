"""The part of a page that asks a wallet."""

import json
import re
from importlib.resources import files
from string import Formatter
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.watcher.web.test_checkout_page import HOSTILE, URL, WAITING, heard, page
from watcher.web.checkout import checkout_page
from watcher.web.wallets import in_app_links

ODD = "https://pay.example/x y/pay/a?lang=de&x=1#top"


@pytest.mark.parametrize("url", [URL, ODD])
def test_a_link_holds_the_whole_address_of_the_page(url: str) -> None:
    """Percent-encoded, so that nothing of it becomes the link's own; OKX's is a link within a link."""
    links = in_app_links(url)
    assert list(links) == ["Xverse", "Leather", "OKX Wallet"]
    for name, link in links.items():
        found = urlsplit(link)
        assert found.scheme in ("https", "leather")
        assert not found.fragment
        query = parse_qs(found.query)
        if name == "OKX Wallet":
            [deep] = query["deeplink"]
            assert deep.startswith("okx://wallet/dapp/url?")
            query = {"url": parse_qs(urlsplit(deep).query)["dappUrl"]}
        assert query == {"url": [url]}


def test_wallets_are_offered_only_while_it_can_be_paid_and_nothing_was_seen() -> None:
    """Who is asked to wait is not asked for money, and who has paid neither."""
    for state in ("waiting", "underpaid"):
        assert 'id="wallet"' in page(state=state).html
    for state in ("seen", "closing", "confirming", "paid", "expired"):
        pay = WAITING["pay"] if state == "seen" else None
        assert 'id="wallet"' not in page(state=state, pay=pay).html


def test_without_scripts_no_wallet_is_offered() -> None:
    """What only a script can do is hidden until a script shows it; the links to apps are plain links."""
    html = page().html
    assert re.search(r'<section class="card wallet" id="wallet"[^>]* hidden>', html)
    assert re.search(r'<p class="framed" hidden>', html)
    assert "Open in Xverse" in heard(page())
    assert "Open in Xverse" not in heard(checkout_page(WAITING, url=None))


def test_what_a_script_may_say_stands_in_the_page() -> None:
    """Each outcome has its words, with a place for the wallet's name; texts of others stay texts."""
    shown = page(payer=HOSTILE, network="testnet").html
    said = dict(re.findall(r'<template data-say="wallet\.(\w+)">(.*?)</template>', shown, re.DOTALL))
    script = files("watcher.web").joinpath("scripts", "wallet_button.ts").read_text()
    adapter = files("watcher.web").joinpath("scripts", "wallet.ts").read_text()
    [reasons] = re.findall(r"type Reason = (.*);", adapter)
    keys = {*re.findall(r'say\("(\w+)"', script), *re.findall(r'"(\w+)"', reasons)}
    keys |= set(re.findall(r': "(\w+)"', script[script.index("const reasons") :].partition("\n")[0]))
    keys |= set(re.findall(r'CallError\("(\w+)"\)', script)) | {"pay", "again", "ended"}
    assert said.keys() == keys
    assert all("{}" in said[key] for key in keys - {"ended", "server"})
    assert "testnet" in said["network"]
    assert "&lt;script&gt;" in said["payer"]


@pytest.mark.parametrize("language", ["de", "fr", "es", "pt", "ja"])
def test_every_language_has_the_same_words_with_the_same_values(language: str) -> None:
    """A translation leaves out no value of the English text and adds none."""

    def read(name: str) -> dict[str, set[str | None]]:
        path = files("watcher.web").joinpath("languages", name, "wallet.json")
        texts: dict[str, str] = json.loads(path.read_text())
        return {key: {part[1] for part in Formatter().parse(text)} - {None} for key, text in texts.items()}

    assert read(language) == read("en")
