"""Refusals of hostile requests: bounded in size and in work, whatever is wrong and however often."""

from typing import Any

import pytest

from watcher import schemas
from watcher.errors import Refused
from watcher.schemas.base import MAX_ERRORS, MAX_MEMBERS
from watcher.schemas.payment_intents import MAX_BULK_INTENTS

#: Characters of one message, and of a field's name in it.
LONG = 700

#: Values as large as a body lets them be.
LARGE: list[Any] = [
    "x" * 60_000,
    "9" * 60_000,
    "9" * 5_000 + "s",
    "SP" + "0" * 60_000,
    "SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7." + "a" * 60_000,
    "https://" + "a" * 60_000,
    "1m" * 30_000,
    10**99,
    float("inf"),
    ["x"] * 15_000,
    [[]] * 15_000,
    {"x" * 60_000: 1},
    {f"x{n}": 1 for n in range(6_000)},
    {"stacks": "x" * 60_000, "bitcoin": 1},
]


REQUESTS = [
    model
    for name in schemas.__all__
    if isinstance(model := getattr(schemas, name), type) and issubclass(model, schemas.Request)
]


def errors_of(model: type[schemas.Request], document: object) -> list[Any]:
    """Return the errors of a document, none when it is accepted."""
    try:
        model.of(document)
    except Refused as error:
        return list(error.errors)
    return []


def refused(model: type[schemas.Request], document: object) -> list[Any]:
    """Return the errors that a document is refused with."""
    with pytest.raises(Refused) as caught:
        model.of(document)
    assert caught.value.code == "validation"
    assert len(str(caught.value)) <= LONG * MAX_ERRORS
    return list(caught.value.errors)


@pytest.mark.parametrize("model", REQUESTS, ids=lambda model: model.__name__)
def test_a_refusal_quotes_little_of_what_it_refuses(model: type[schemas.Request]) -> None:
    """No field lets a caller get back what they sent, however large."""
    for name, field in model.model_fields.items():
        for value in LARGE:
            for line in errors_of(model, {field.alias or name: value}):
                assert len(line["field"]) + len(line["message"]) <= LONG, (name, line)


def test_an_object_of_too_many_fields_is_refused_as_such() -> None:
    """Each unknown field alone would get a message and a suggestion."""
    assert refused(schemas.NewPaymentIntent, {f"a{n}": 1 for n in range(MAX_MEMBERS + 1)}) == []
    known = refused(schemas.NewPaymentIntent, {f"a{n}": 1 for n in range(MAX_MEMBERS)})
    assert len(known) == MAX_ERRORS
    inside = {"intents": [{"amount": 1}, {f"a{n}": 1 for n in range(MAX_MEMBERS + 1)}]}
    assert [error["field"] for error in refused(schemas.NewPaymentIntents, inside)] == ["intents.1"]


def test_the_first_errors_of_many_are_named_in_order() -> None:
    wrong = {"intents": [{"amount": 0}] * MAX_BULK_INTENTS}
    fields = [error["field"] for error in refused(schemas.NewPaymentIntents, wrong)]
    assert fields == [f"intents.{n}.amount" for n in range(MAX_ERRORS)]


def test_too_many_intents_are_not_looked_at_one_by_one() -> None:
    """The count is judged before the contents."""
    [error] = refused(schemas.NewPaymentIntents, {"intents": [0] * 100_000})
    assert error["field"] == "intents"
    assert "100000" in error["message"]


def test_an_unknown_field_of_any_length_is_named_by_its_beginning() -> None:
    [error] = refused(schemas.Mark, {"status": "failed", "reason": "x", "y" * 60_000: 1})
    assert error["field"].startswith("yyyy")
    assert len(error["field"]) <= LONG
