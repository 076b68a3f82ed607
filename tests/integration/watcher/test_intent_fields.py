"""Every field of an intent is in the row, the document, the request, the client and the command line."""

from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from chain.testing import principal
from tests.integration.watcher.ledger_fixture import PAYER, STRANGER, LedgerFixture
from tests.unit.watcher.cli.runner import calling
from watcher.cli import intent_card
from watcher.client.payment_intents import PaymentIntentMethods
from watcher.config.settings import Settings
from watcher.domain.clocks import Clocks
from watcher.domain.model import BEFORE_THE_CHAIN, Depth, Facts, Intent, IntentState, Status
from watcher.domain.server_info import ServerInfo
from watcher.errors import Refused
from watcher.schemas import NewPaymentIntent, PaymentIntent, serialize
from watcher.services.intent_requests import prepare
from watcher.store import intents as intent_store

SERVER = ServerInfo(network="mainnet")

NOW = 1_800_000_000
FIELDS = {name: get_type_hints(Intent)[name] for name in (field.name for field in fields(Intent))}

#: Fields of an intent that its document shows under another name, or not at all.
NOT_SHOWN = {
    *("reference_generated", "salt", "level", "required"),
    *("not_before", "inclusion_grace", "monitoring", "reorg_grace", "two_sources", "checkout_token"),
}

#: Fields of an intent that no request names.
NOT_ASKED_FOR = {
    *("id", "status", "asset_identifier", "reference_generated", "terms_hash", "required", "created_at"),
    *("inclusion_grace", "monitoring", "reorg_grace", "two_sources", "checkout_token", "payment_link"),
}

#: What a request can ask for; any text for the fields that are not here.
ASKED_FOR = {
    "amount": "70000",
    "asset": "stx",
    "recipient": principal("own"),
    "expires_at": NOW + 500,
    "level": "settled",
    "payer": PAYER,
    "match": "recipient",
    "tolerance": "5",
    "late_policy": "accept",
    "not_before": NOW - 500,
    "salt": "0x" + "ab" * 16,
    "metadata": {"order_id": "7"},
    "success_url": "https://shop.example/thanks",
    "cancel_url": "https://shop.example/cart",
    "fiat": {"amount": "49.90", "currency": "EUR"},
}


def sample(name: str, kind: Any) -> Any:
    """Return a value of a field that no other field has and that is not its default."""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return list(kind)[-1]
    values: dict[Any, Any] = {
        bool: not Intent.__dataclass_fields__[name].default,
        int: 1000 + sorted(FIELDS).index(name),
        bytes: name.encode(),
        Depth: Depth(stacks=7, bitcoin=3),
        dict[str, str]: {"field": name},
    }
    kinds = [kind, *get_args(kind)]  # also what may be None
    return next((values[kind] for kind in kinds if kind in values), name[:16])


def make_intent() -> Intent:
    return Intent(**{name: sample(name, kind) for name, kind in FIELDS.items()})


def test_every_field_of_an_intent_is_stored(fixture: LedgerFixture) -> None:
    """An intent is read back from the database as it was stored, without any field at its default."""
    intent = replace(make_intent(), merchant=fixture.merchant)
    defaults = {field.name: field.default for field in fields(Intent) if field.default is not MISSING}
    assert not [name for name, default in defaults.items() if getattr(intent, name) == default]
    with fixture.database.begin() as connection:
        intent_store.add_intents(connection, [(intent, ["r:KEY"], "KEY")])
        found = intent_store.load_intents(connection, [intent.id])
    assert found == {intent.id: intent}


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - NOT_SHOWN - {"status"}))
def test_every_field_of_an_intent_is_shown(name: str) -> None:
    """Each field of an intent is in its document under its own name, and follows the intent's value."""
    state = IntentState(
        status=Status.PENDING,
        flags=frozenset(),
        received=0,
        missing=0,
        over=0,
        refunded=0,
        anchor=None,
        in_flight=False,
        updated_at=0,
        succeeded_at=None,
    )

    def shown(intent: Intent) -> Any:
        return serialize.payment_intent(intent, state, Facts(), [], BEFORE_THE_CHAIN, server_info=SERVER)[
            name
        ]

    intent = make_intent()
    value = getattr(intent, name)
    if isinstance(value, StrEnum):
        other: Any = next(iter(type(value)))
    else:
        other = {**value, "more": ""} if isinstance(value, dict) else value * 2
    assert shown(replace(intent, **{name: other})) != shown(intent)


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - NOT_ASKED_FOR - {"merchant"}))
def test_every_field_of_a_request_reaches_the_intent(name: str) -> None:
    """What a request says of a field is what the intent has: it differs from that of a bare request."""
    merchant = {"id": "mer_1", "recipient": STRANGER, "level": None, "ttl": None, "tolerance": None}

    def ask(**given: Any) -> Any:
        request = NewPaymentIntent.of({"amount": 50_000} | given)
        settings = Settings(database_url="sqlite:///unused.db")
        return prepare(
            request, merchant=merchant | {"late_policy": None}, settings=settings, clocks=Clocks(machine=NOW)
        )

    given = {name: ASKED_FOR.get(name, "text")}
    if name == "match":
        given["recipient"] = ASKED_FOR["recipient"]
    assert getattr(ask(**given), name) != getattr(ask(), name)


def test_the_client_sends_every_field_of_a_request() -> None:
    """The client's method has a keyword for each field of the request, and sends it."""
    build: Callable[..., Any] = PaymentIntentMethods.create_intent.build
    body = build(**dict.fromkeys(NewPaymentIntent.model_fields, "text")).body
    assert body.keys() == NewPaymentIntent.model_fields.keys()


def test_the_command_line_passes_on_every_field_of_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``intents create`` has an option for each field of the request, and passes it on."""
    asked: list[dict[str, Any]] = []

    def refuse(document: dict[str, Any]) -> None:
        asked.append(document)
        raise Refused("validation", "no")

    monkeypatch.setattr(NewPaymentIntent, "of", refuse)
    options = {
        name: "hold" if name == "late_policy" else "key=value" for name in NewPaymentIntent.model_fields
    }
    words = [word for name, text in options.items() for word in (f"--{name.replace('_', '-')}", text)]
    with calling(tmp_path, monkeypatch, capsys) as cli:
        cli("intents", "create", *words, code=2)
    assert [document.keys() for document in asked] == [NewPaymentIntent.model_fields.keys()]


def test_the_card_shows_a_field_that_it_has_no_row_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A text that the card does not know is its last row, and what it knows is shown once."""
    [example] = PaymentIntent.model_config["json_schema_extra"]["examples"]  # type: ignore[index,call-overload]

    def labels(**more: str) -> list[str]:
        intent_card.show(example | more, [], now=NOW)
        rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
        return [row.split("  ")[0] for row in rows]

    known = labels()
    assert len(known) == len(set(known))
    assert {"Object", "Terms hash", "Updated at"}.isdisjoint(known)
    assert labels(later_field="x") == [*known, "Later field"]
