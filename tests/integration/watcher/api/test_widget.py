"""The widget's scripts: shops load them from pages of any origin, under names that stay."""

import gzip
import re
from importlib.resources import files

import pytest

from tests.integration.watcher.api.api_fixture import ApiFixture

SCRIPTS = ("widget.js", "widget.mjs")

#: Bytes of a script as it goes over the wire.
MAX_GZIPPED = 8 * 1024


@pytest.mark.parametrize("name", SCRIPTS)
async def test_any_page_may_load_the_script_and_keep_it_for_a_while(
    sqlite_api: ApiFixture, name: str
) -> None:
    """CORS for modules, CORP for isolated pages, a short life and an entity tag, no cookie."""
    answer = await sqlite_api.stranger.get(f"/{name}", headers={"origin": "https://shop.example"})
    assert answer.status_code == 200
    assert answer.content == files("watcher.web").joinpath("built", name).read_bytes()
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"].startswith("public, max-age=300")
    assert "set-cookie" not in answer.headers
    again = await sqlite_api.stranger.get(f"/{name}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == answer.headers["cache-control"]
    assert again.headers["access-control-allow-origin"] == "*"
    plain = await sqlite_api.stranger.get(f"/{name}", headers={"accept-encoding": "identity"})
    assert plain.content == answer.content
    assert plain.headers["etag"] != answer.headers["etag"]
    assert int(answer.headers["content-length"]) < MAX_GZIPPED < int(plain.headers["content-length"])


@pytest.mark.parametrize("name", SCRIPTS)
async def test_origins_of_the_api_do_not_change_who_may_load_the_script(
    sqlite_api: ApiFixture, name: str
) -> None:
    """With ``http_cors_origins`` set, a page of another origin still loads it."""
    async with ApiFixture(sqlite_api.fixture, http_cors_origins=["https://admin.example"]) as api:
        answer = await api.stranger.get(f"/{name}", headers={"origin": "https://shop.example"})
        assert answer.headers.get_list("access-control-allow-origin") == ["*"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_is_small(name: str) -> None:
    """At most 8 KB gzipped."""
    script = files("watcher.web").joinpath("built", name).read_bytes()
    assert len(gzip.compress(script, 9)) <= MAX_GZIPPED


def test_one_script_leaves_a_global_and_the_other_exports() -> None:
    """A script tag needs no ``type=module``, and a module leaves nothing in the page."""
    script, module = (files("watcher.web").joinpath("built", name).read_text() for name in SCRIPTS)
    assert not re.search(r"\bexport\s*\{", script)
    assert re.search(r"\bexport\s*\{.*SbtcPay", module)
    for text in (script, module):
        assert "postMessage" not in text
        assert not re.search(r"innerHTML|eval\(|localStorage|sessionStorage|cookie", text)


async def test_a_page_that_may_be_framed_tells_its_allowed_parents_only(sqlite_api: ApiFixture) -> None:
    """The script for frames knows the merchant's origins; without any it is not even there."""
    made = await sqlite_api.create()
    page = await sqlite_api.stranger.get(made["checkout_url"])
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "data-origins" not in page.text
    sqlite_api.allow("https://shop.example", "https://www.shop.example")
    page = await sqlite_api.stranger.get(made["checkout_url"])
    assert page.headers["content-security-policy"].endswith(
        "frame-ancestors https://shop.example https://www.shop.example"
    )
    assert "x-frame-options" not in page.headers
    found = re.search(r'<script src="(assets/frame-\w+\.js)" data-origins="(.*)" defer>', page.text)
    assert found is not None
    assert found[2] == "https://shop.example https://www.shop.example"
    script = await sqlite_api.stranger.get(f"/pay/{found[1]}")
    assert script.status_code == 200
    assert not re.search(r"""postMessage\([^)]*['"`]\*""", script.text)
    assert f'data-intent="{made["id"]}"' in page.text
