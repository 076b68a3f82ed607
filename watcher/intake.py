"""Taking in intents: what a merchant asks for is checked whole, frozen with its policy, and stored."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any

from sqlalchemy import Connection

from contracts.networks import AssetSpec
from contracts.terms import SALT_BYTES, terms_hash
from notifier.events import rfc3339
from notifier.ids import Entropy, new_id
from watcher import blocks, facts, fields, merchants, records
from watcher.assets import suggest
from watcher.books import BEFORE_THE_CHAIN, Books
from watcher.clocks import Clocks
from watcher.errors import Refused
from watcher.fields import Problems
from watcher.intents import CLOCK_SLACK, Intent, LatePolicy, Match
from watcher.matching import by_strength, match
from watcher.settings import Settings
from watcher.taken import Taken, keys_of, reference_key_of

#: Money that was mined up to so long before the intent was created (by the earlier clock) counts for it, seconds.
LOOKBACK = 86400

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REFERENCE_LENGTH = 12
#: A second draw is rare; a tenth means that the randomness is broken.
_DRAWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRequest:
    """What was asked for, as it came in: texts or numbers, nothing checked. None = not given."""

    amount: object = None
    asset: object = None
    recipient: object = None
    reference: object = None
    expires_in: object = None
    expires_at: object = None
    level: object = None
    payer: object = None
    match: object = None
    tolerance: object = None
    late_policy: object = None
    not_before: object = None
    salt: object = None
    metadata: object = None

    @classmethod
    def of(cls, document: object) -> "IntentRequest":
        """Return the request in a JSON document. Raises :class:`Refused` for unknown fields."""
        if not isinstance(document, Mapping):
            raise Refused("validation", "an intent is a JSON object with at least an amount")
        known = [field.name for field in dataclass_fields(cls)]
        problems = Problems()
        for name in document:
            if name not in known:
                problems.add(str(name), f"unknown field{suggest(str(name), known)}")
        problems.check()
        return cls(**document)


def prepare(
    request: IntentRequest,
    *,
    merchant: Mapping[str, Any],
    settings: Settings,
    clocks: Clocks,
    entropy: Entropy = os.urandom,
) -> Intent:
    """Check a request and return the intent it asks for, with the merchant's and the settings' defaults.

    A lifetime counts from the later clock, ``not_before`` from the earlier one.

    Raises :class:`Refused` with everything that is wrong. Nothing is looked up: whether reference and recipient are
    free is for :func:`create` to say.
    """
    problems = Problems()
    amount = problems.read("amount", _read_needed_amount, request.amount, 1)
    asset = _read_asset(problems, request, settings)
    matching = problems.read(
        "match", fields.read_choice(Match), _default(request.match, Match.REFERENCE.value), Match.REFERENCE
    )
    recipient = _read_recipient(problems, request, merchant, settings, matching)
    payer = None
    if request.payer is not None:
        payer = problems.read("payer", _principal_reader(settings), request.payer, "")
    expires_at = _read_expiry(problems, request, merchant, settings, clocks)
    tolerance = _read_tolerance(problems, request, merchant, amount)
    level = problems.read(
        "level",
        settings.parse_level,
        _first(request.level, merchant["level"], settings.level_for(asset.name, amount)),
        settings.level_for(asset.name, amount),
    )
    late_policy = problems.read(
        "late_policy",
        fields.read_choice(LatePolicy),
        _first(request.late_policy, merchant["late_policy"], settings.late_policy.value),
        LatePolicy.HOLD,
    )
    salt = entropy(SALT_BYTES)
    if request.salt is not None:
        salt = problems.read("salt", fields.read_salt, request.salt, salt)
    generated = request.reference is None
    reference = draw_reference(entropy)
    if not generated:
        reference = problems.read("reference", fields.read_reference, request.reference, reference)
    metadata: dict[str, str] = {}
    if request.metadata is not None:
        metadata = problems.read("metadata", fields.read_metadata, request.metadata, metadata)
    not_before = _read_not_before(problems, request, matching, clocks, expires_at)
    problems.check()
    return Intent(
        id=new_id("pi_", clocks.machine, entropy),
        merchant=merchant["id"],
        amount=amount,
        asset=asset.name,
        asset_identifier=asset.identifier,
        recipient=recipient,
        payer=payer,
        reference=reference,
        reference_generated=generated,
        terms_hash=terms_hash(
            amount=amount, expires_at=expires_at, merchant=recipient, salt=salt, token=asset.contract
        ),
        salt=salt,
        match=matching,
        tolerance=tolerance,
        level=level.name,
        required=level.depth,
        late_policy=late_policy,
        created_at=int(clocks.machine),
        expires_at=expires_at,
        not_before=not_before,
        inclusion_grace=settings.inclusion_grace,
        monitoring=settings.monitoring,
        reorg_grace=settings.reorg_grace,
        metadata=metadata,
    )


def create(
    connection: Connection,
    request: IntentRequest,
    *,
    merchant_id: str,
    settings: Settings,
    books: Books,
    now: float,
    entropy: Entropy = os.urandom,
) -> str:
    """Store an intent, give it the money that came before it, decide how it stands; return its id.

    Holds the cursor, so that no step of the chain and no other intent comes in between; the caller's transaction commits all or nothing.
    Raises :class:`Refused` (``validation``, ``reference_taken``, ``terms_taken``, ``recipient_in_use``,
    ``merchant_disabled``) and :class:`NotFound` for the merchant.
    """
    [made] = create_many(
        connection,
        [request],
        merchant_id=merchant_id,
        settings=settings,
        books=books,
        now=now,
        entropy=entropy,
    )
    if isinstance(made, Refused):
        raise made
    return made


def create_many(
    connection: Connection,
    requests: Sequence[IntentRequest],
    *,
    merchant_id: str,
    settings: Settings,
    books: Books,
    now: float,
    entropy: Entropy = os.urandom,
) -> Sequence[str | Refused]:
    """Store intents as :func:`create` does, all or none; return for each its id, or why it is refused.

    With one refusal among them nothing is stored. A wrong one takes nothing from those after it.
    Raises :class:`Refused` (``merchant_disabled``) and :class:`NotFound` for the merchant.
    """
    cursor = blocks.load_cursor(connection, lock=True)
    clock, clocks = BEFORE_THE_CHAIN, Clocks(machine=now)
    if cursor is not None:
        clock = cursor.clock
        clocks = Clocks(machine=now, chain=clock.time, tip=cursor.tip_time)
    merchant = merchants.find(connection, merchant_id, lock=True)
    if merchant["status"] != "active":
        raise Refused("merchant_disabled", f"merchant {merchant_id} is disabled and takes no intents")
    made: list[Intent | Refused] = []
    for request in requests:
        try:
            made.append(
                prepare(request, merchant=merchant, settings=settings, clocks=clocks, entropy=entropy)
            )
        except Refused as refused:
            made.append(refused)
    taken = Taken(connection, merchant=merchant_id, time=clock.time)
    taken.look_up([intent for intent in made if isinstance(intent, Intent)])
    for place, intent in enumerate(made):
        if isinstance(intent, Intent):
            try:
                made[place] = _admit(taken, intent, entropy)
            except Refused as refused:
                made[place] = refused
    intents = [intent for intent in made if isinstance(intent, Intent)]
    if intents and len(intents) == len(made):
        records.add_intents(
            connection, [(intent, keys_of(intent), reference_key_of(intent)) for intent in intents]
        )
        _find_money(connection, intents)
        books.settle(connection, [intent.id for intent in intents], clock, now=now)
    return [intent.id if isinstance(intent, Intent) else intent for intent in made]


def draw_reference(entropy: Entropy) -> str:
    """Return 12 random Crockford base32 characters: easy to read and type, 60 bits."""
    number = int.from_bytes(entropy(8), "big")
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(0, 5 * _REFERENCE_LENGTH, 5))


def _read_needed_amount(value: object) -> int:
    if value is None:
        raise ValueError("is missing; give the number of base units to be paid")
    return fields.read_amount(value)


def _read_asset(problems: Problems, request: IntentRequest, settings: Settings) -> AssetSpec:
    name = _default(request.asset, "sbtc")
    if isinstance(name, str) and name in settings.assets:
        return settings.assets[name]
    problems.add(
        "asset",
        f"{fields.quote(name)} is not an asset of the settings; write {', '.join(settings.assets)}",
    )
    return settings.assets["sbtc"]


def _read_recipient(
    problems: Problems,
    request: IntentRequest,
    merchant: Mapping[str, Any],
    settings: Settings,
    matching: Match,
) -> str:
    default = str(merchant["recipient"])
    if request.recipient is None and matching is Match.RECIPIENT:
        problems.add("recipient", "is missing; match = recipient needs an address of its own")
    if request.recipient is None:
        return default
    return problems.read("recipient", _principal_reader(settings), request.recipient, default)


def _read_expiry(
    problems: Problems,
    request: IntentRequest,
    merchant: Mapping[str, Any],
    settings: Settings,
    clocks: Clocks,
) -> int:
    """Return the moment at which the intent expires, unix seconds."""
    ttl: object = _first(merchant["ttl"], settings.default_ttl)
    if request.expires_at is None:
        if request.expires_in is not None:
            ttl = request.expires_in
        return clocks.later + problems.read("expires_in", fields.read_ttl, ttl, 1)
    if request.expires_in is not None:
        problems.add("expires_in", "and expires_at exclude each other; give one")
    moment = problems.read("expires_at", fields.read_time, request.expires_at, clocks.later + 1)
    if moment <= clocks.machine:
        problems.add("expires_at", "is not ahead of this machine's clock; give a later time")
    elif moment <= clocks.later:
        newest = rfc3339(clocks.later)
        problems.add(
            "expires_at",
            f"is not ahead of the chain, whose newest block is of {newest}; give a later time",
        )
    elif moment > clocks.later + fields.MAX_TTL:
        problems.add("expires_at", "is more than 366d ahead; give an earlier time")
    return moment


def _read_tolerance(
    problems: Problems, request: IntentRequest, merchant: Mapping[str, Any], amount: int
) -> int:
    value = _first(request.tolerance, merchant["tolerance"], 0)
    tolerance = problems.read("tolerance", lambda n: fields.read_amount(n, least=0), value, 0)
    if tolerance >= amount and not problems.about("amount"):
        whose = "" if request.tolerance is not None else ", the merchant's default,"
        problems.add("tolerance", f"{tolerance}{whose} is not below the amount; give a smaller one")
    return tolerance


def _read_not_before(
    problems: Problems, request: IntentRequest, matching: Match, clocks: Clocks, expires_at: int
) -> int:
    if matching is Match.RECIPIENT:
        if request.not_before is not None:
            problems.add(
                "not_before",
                "is fixed by match = recipient: nothing before the creation counts; leave it out",
            )
        return max(0, clocks.earlier - CLOCK_SLACK)
    default = max(0, clocks.earlier - LOOKBACK)
    if request.not_before is None:
        return default
    not_before = problems.read("not_before", fields.read_time, request.not_before, default)
    if not_before >= expires_at and not problems.about("not_before", "expires_at", "expires_in"):
        problems.add("not_before", "is not before the intent expires; give an earlier time")
    return not_before


def _principal_reader(settings: Settings) -> Any:
    def read(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{fields.quote(value)} is not a principal; write it as text")
        return str(settings.network_facts.parse_principal(value))

    return read


def _admit(taken: Taken, intent: Intent, entropy: Entropy) -> Intent:
    """Return the intent, with a reference that is free: drawn again where it is ours. Raises :class:`Refused`."""
    for _ in range(_DRAWS):
        user = taken.user_of_reference(intent)
        if user is None:
            break
        if not intent.reference_generated:
            message = f"{intent.reference} is in use by {user}; choose another one"
            raise Refused("reference_taken", errors=[{"field": "reference", "message": message}])
        intent = replace(intent, reference=draw_reference(entropy))
        taken.look_up([intent])
    else:
        raise RuntimeError(f"{_DRAWS} random references were all in use: the source of randomness is broken")
    taken.check(intent)
    taken.add(intent)
    return intent


def _find_money(connection: Connection, intents: Sequence[Intent]) -> None:
    """Match the stored transfers that speak the intents' labels once more, now that they exist."""
    keys = {key for intent in intents for key in keys_of(intent)}
    dedicated = {intent.recipient for intent in intents if intent.match is Match.RECIPIENT}
    strays = facts.find_strays(connection, keys, dedicated=dedicated)
    by_label = records.intents_by_label(connection, {key for stray in strays for key in stray.keys})
    to_own = records.dedicated_intents(connection, {stray.claim.recipient for stray in strays})
    for stray in strays:
        found = match(
            stray.claim,
            labelled=by_strength(by_label, stray.keys),
            dedicated=to_own.get(stray.claim.recipient, ()),
        )
        if found.intent is not None:
            facts.give(connection, stray.id, found.intent.id, found.intent.merchant)
        else:
            facts.explain(connection, stray, found)


def _default(value: object, default: object) -> object:
    return default if value is None else value


def _first(*values: object) -> object:
    return next((value for value in values if value is not None), None)


__all__ = ["LOOKBACK", "IntentRequest", "Refused", "create", "create_many", "draw_reference", "prepare"]
