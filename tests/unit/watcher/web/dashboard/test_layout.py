"""What every page of the dashboard is made with: addresses, amounts, times, durations, names of browsers."""

import pytest

from watcher.web import assets
from watcher.web.dashboard.brand import brand_color
from watcher.web.dashboard.layout import Frame, helpers, link, percent
from watcher.web.page import environment

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605 Version/19.0 Safari/604.1"


FRAME = Frame(
    path="/dashboard/payments/pi_1",
    query=[("status", "paid"), ("cursor", "x"), ("empty", "")],
    viewer=None,
    token="",
    said=None,
    network="mainnet",
    assets={"sbtc": ("SM3V.sbtc-token::sbtc-token", 8), "stx": ("STX", 6)},
)


@pytest.mark.parametrize(
    ("path", "to", "address"),
    [
        ("/dashboard", "", "dashboard"),
        ("/dashboard", "keys", "dashboard/keys"),
        ("/dashboard/keys", "", "../dashboard"),
        ("/dashboard/keys", "?x=1", "../dashboard?x=1"),
        ("/dashboard/payments/pi_1", "keys", "../../dashboard/keys"),
        ("/dashboard/", "keys", "../dashboard/keys"),
    ],
)
def test_addresses_are_relative(path: str, to: str, address: str) -> None:
    """So that they hold where a proxy serves everything below another path."""
    assert link(path, to) == address


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ to('keys') }}", "../../dashboard/keys"),
        ("{{ with_query(cursor='y') }}", "?status=paid&amp;cursor=y"),
        ("{{ with_query(cursor=none) }}", "?status=paid"),
        ("{{ money('150000', 'sbtc') }}", '<span class="money"><b>0.0015</b> sBTC</span>'),
        ("{{ money('1500000', 'STX') }}", '<span class="money"><b>1.5</b> STX</span>'),
        ("{{ money('7', '<b>') }}", '<span class="money"><b>7</b> units of <code>&lt;b&gt;</code></span>'),
        (
            "{{ moment('2026-11-20T12:00:00.000Z') }}",
            '<time datetime="2026-11-20T12:00:00.000Z">2026-11-20 12:00:00 UTC</time>',
        ),
        ("{{ moment(none) }}", '<span class="soft">never</span>'),
        ("{{ span(none) }} {{ span(3.4) }} {{ span(119) }} {{ span(120) }}", "– 3 s 119 s 2 min"),
        ("{{ span(7200) }} {{ span(200000) }}", "2 h 2 d"),
        (
            "{{ tone('succeeded') }} {{ tone('dead') }} {{ tone('held') }} {{ tone('x') }}",
            "good bad warn plain",
        ),
        ("{{ words('refund_due') }}", "refund due"),
        ("{{ browser(agent) }}", "Chrome on Linux"),
        ("{{ browser(phone) }}", "Safari on iPhone"),
        ("{{ browser('curl/8.1') }}|{{ browser('') }}", "curl/8.1|unknown"),
    ],
)
def test_pieces_of_pages(template: str, text: str) -> None:
    html = environment().from_string(template).render(agent=CHROME, phone=IPHONE, **helpers(FRAME))
    assert html.startswith(text)


@pytest.mark.parametrize(
    ("color", "text", "pale_on"),
    [
        ("#1f6f54", "#ffffff", ("dark",)),
        ("#ffffff", "#000000", ("light",)),
        ("#2450c8", "#ffffff", ("dark",)),
        ("#e0662b", "#000000", ()),
    ],
)
def test_a_brand_color_is_judged_by_its_contrast(color: str, text: str, pale_on: tuple[str, ...]) -> None:
    found = brand_color(color)
    assert (found.text, found.pale_on) == (text, pale_on)
    assert float(found.text_contrast) >= 4.5


def test_black_or_white_can_always_be_read() -> None:
    """On every color one of them has the contrast that WCAG asks of text."""
    for red in range(0, 256, 51):
        for green in range(0, 256, 51):
            for blue in range(0, 256, 51):
                color = f"#{red:02x}{green:02x}{blue:02x}"
                assert assets.contrast(color, assets.text_on(color)) >= 4.5
    assert assets.contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (None, "–"),
        (1.0, "100\u00a0%"),
        (0.99999, "99.9\u00a0%"),
        (0.5, "50\u00a0%"),
        (0.3333, "33.3\u00a0%"),
        (0.00001, "0.1\u00a0%"),
        (0.0, "0\u00a0%"),
    ],
)
def test_a_rate_is_whole_only_where_it_is(rate: float | None, shown: str) -> None:
    """One failure in a million is not a hundred percent, one success not nothing."""
    assert percent(rate) == shown
