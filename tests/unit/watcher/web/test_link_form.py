"""The form of a payment link: fields become requests, and links become fields."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from watcher.schemas import NewPaymentLink
from watcher.web.dashboard import link_form

DECIMALS = {"sbtc": 8, "stx": 6, "points": 0}
AMOUNTS = st.integers(1, 2**128 - 1)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n="), min_size=1, max_size=20).map(
    str.strip
)
KEYS = WORDS.filter(
    lambda text: text and '"' not in text and "\\" not in text and text.splitlines() == [text]
)
LINES = WORDS.filter(lambda text: text.splitlines() == [text])


@st.composite
def links(draw: st.DrawFn) -> dict[str, Any]:
    """Return the document of a link, as far as its form knows it."""
    none = st.none()
    link: dict[str, Any] = dict.fromkeys(("amount", "min_amount", "max_amount", "asset", "prices"))
    if draw(st.booleans()):
        assets = draw(st.lists(st.sampled_from(list(DECIMALS)), min_size=1, unique=True))
        link["prices"] = {asset: str(draw(AMOUNTS)) for asset in assets}
    else:
        link["asset"] = draw(st.sampled_from(list(DECIMALS)))
        names = ["amount"] if draw(st.booleans()) else ["min_amount", "max_amount"]
        for name in names:
            amount = draw(AMOUNTS if name == "amount" else none | AMOUNTS)
            link[name] = None if amount is None else str(amount)
    return link | {
        "description": draw(none | LINES),
        "metadata": draw(st.dictionaries(KEYS, LINES | st.just(""), max_size=3)),
        "expires_at": draw(none | st.just("2030-01-31T12:00:00.000Z")),
        "max_uses": draw(none | st.integers(1, 10**9)),
        "level": draw(none | st.just("anchored") | st.just({"stacks": 3, "bitcoin": 1})),
        "recipient": None,
        "success_url": draw(none | st.just("https://shop.example/?a=b&c=d")),
        "cancel_url": None,
    }


@given(links())
def test_a_form_that_nobody_touched_asks_for_what_is_there(link: dict[str, Any]) -> None:
    """Whatever the link is, and at any size of its amounts."""
    request = link_form.request_of(link_form.values_of(link, DECIMALS), DECIMALS)
    asked = NewPaymentLink.of({name: value for name, value in request.items() if value is not None})
    for name in ("amount", "min_amount", "max_amount"):
        wanted = None if link[name] is None else int(link[name])
        assert getattr(asked, name) == wanted, name
    prices = None if link["prices"] is None else {name: int(text) for name, text in link["prices"].items()}
    assert asked.prices == prices
    assert (asked.description, asked.asset) == (link["description"], link["asset"])
    assert (asked.metadata or {}) == link["metadata"]
    assert asked.max_uses == link["max_uses"]
    assert asked.expires_at == (None if link["expires_at"] is None else 1_896_091_200)
