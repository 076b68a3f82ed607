"""The words of the pages: the same in every language, and the one that a payer reads best."""

import re
from collections.abc import Iterator
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from watcher.web import texts

OTHERS = [language for language in texts.LANGUAGES if language != "en"]


def forms(language: str, key: str) -> Iterator[str]:
    text = texts.words(language)[key]
    yield from [text] if isinstance(text, str) else text.values()


def values(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_the_same_texts(language: str) -> None:
    """The same keys as in English, each with the same values, and plural forms where it has."""
    assert texts.words(language).keys() == texts.words("en").keys()
    for key in texts.words("en"):
        wanted = set().union(*(values(text) for text in forms("en", key)))
        for text in forms(language, key):
            assert values(text) | ({"n"} & wanted) == wanted, key
        is_text = [isinstance(texts.words(one)[key], str) for one in (language, "en")]
        assert is_text[0] == is_text[1], key


@pytest.mark.parametrize("language", [*texts.LANGUAGES])
def test_texts_are_plain(language: str) -> None:
    """No markup, no ends of lines, and nothing at their edges; none was left in English."""
    for key in texts.words(language):
        for text in forms(language, key):
            assert not re.search(r"[<>\n\r\t]|&[a-z#]|  ", text), key
            assert text == text.strip(), key
            assert text, key
            if language != "en" and len(text) > 30:
                assert text not in forms("en", key), key


@pytest.mark.parametrize("language", [*texts.LANGUAGES])
@pytest.mark.parametrize("number", [0, 1, 2, 11, 1000])
def test_every_number_has_its_form(language: str, number: int) -> None:
    """A text with a number is there for each of them."""
    assert str(number) in texts.say(language, "left.days", n=number)


def test_one_is_not_many() -> None:
    """The form follows the number, as the language has it: nothing is one in French."""
    assert texts.say("en", "left.days", n=1) == "1 day left"
    assert texts.say("en", "left.days", n=0) == "0 days left"
    assert texts.say("fr", "left.days", n=0) == "Encore 0 jour"
    assert texts.say("de", "left.days", n=2) == "Noch 2 Tage"
    assert texts.say("ja", "left.days", n=1) == "あと 1 日"


def test_values_of_markup_are_escaped() -> None:
    """What is filled in stays text, but for what is markup already."""
    shown = texts.markup("en", "left.until", time="<b>&")
    assert shown == "Pay until &lt;b&gt;&amp;"
    assert texts.markup("en", "left.until", time=Markup("<time>x</time>")) == "Pay until <time>x</time>"
    assert texts.say("en", "back", name="<b>{0}") == "Back to <b>{0}"


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "zh-Hant, ja;q=0.5, fr;q=0.8", "fr"),
        (None, "en;q=0.1,pt-BR;q=0.2", "pt"),
        (None, "fr;q=0, de;q=0.001", "de"),
        (None, "ES", "es"),
        (None, "zh, *;q=0.5", "en"),
        (None, "xx", "en"),
        (None, "de;q=2, fr ; q=0.5", "fr"),
        (None, "de;level=1,ja", "ja"),
        (None, "deutsch-oder-so;;;q=1,,,", "en"),
        ("es", "de", "es"),
        ("ES", "de", "de"),
        ("xx", "de", "de"),
        ("", "de", "de"),
        ("../en", "", "en"),
    ],
)
def test_the_payer_is_spoken_to_in_the_language_that_they_like_best(
    asked: str | None, accepted: str, language: str
) -> None:
    """What is asked for goes first, then the weights of Accept-Language; others are passed over."""
    assert texts.choose_language(asked, accepted) == language


@given(st.text(max_size=200) | st.just("de;q=0.5," * 10_000))
def test_whatever_is_accepted_there_is_a_language(accepted: str) -> None:
    """No header breaks it or takes long."""
    assert texts.choose_language(None, accepted) in texts.LANGUAGES
