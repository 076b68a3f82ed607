"""Taking in intents: what a merchant asks for is checked whole, frozen with its policy, and stored."""

import os
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from contracts.networks import AssetSpec
from contracts.terms import SALT_BYTES, terms_hash
from notifier.events import rfc3339
from notifier.ids import Entropy, new_id
from watcher.config.settings import Settings
from watcher.domain.clocks import Clocks
from watcher.domain.model import BEFORE_THE_CHAIN, CLOCK_SLACK_SECONDS, Intent, LatePolicy, Match
from watcher.errors import Problems, Refused
from watcher.indexer.candidates import Candidates
from watcher.indexer.settler import Settler
from watcher.schemas import NewPaymentIntent
from watcher.schemas.fields import MAX_TTL_SECONDS
from watcher.services import merchants
from watcher.services.uniqueness import UniquenessChecker, label_keys_of, reference_key_of
from watcher.store import chain_state
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store
from watcher.text import quote

#: Money that was mined up to so long before the intent was created (by the earlier clock) counts for it,
#: seconds.
LOOKBACK_SECONDS = 86400

#: Bytes of randomness in the address of a checkout.
CHECKOUT_TOKEN_BYTES = 16

#: Fields of a request that need the merchant, the settings, a clock or each other, see :func:`prepare`.
_INTERPRETED = frozenset(
    {
        *("merchant", "asset", "recipient", "reference", "expires_in", "expires_at", "level", "payer"),
        *("match", "tolerance", "late_policy", "not_before", "salt"),
    }
)
#: The others go into the intent as they are; one that was not given has the intent's default.
_PASSED_ON = tuple(name for name in NewPaymentIntent.model_fields if name not in _INTERPRETED)

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REFERENCE_LENGTH = 12
#: A second draw is rare; a tenth means that the randomness is broken.
_MAX_DRAWS = 10


def prepare(
    request: NewPaymentIntent,
    *,
    merchant: Mapping[str, Any],
    settings: Settings,
    clocks: Clocks,
    payment_link: str | None = None,
    entropy: Entropy = os.urandom,
) -> Intent:
    """Return the intent that a request asks for, with the merchant's and the settings' defaults.

    A lifetime counts from the later clock, ``not_before`` from the earlier one.

    Raises :class:`Refused` with everything that does not fit the settings, the merchant or the clocks.
    Nothing is looked up: whether reference and recipient are free is for :func:`create` to say.
    """
    problems = Problems()
    asset = _find_asset(problems, request.asset, settings)
    matching = request.match or Match.REFERENCE
    recipient = _find_recipient(problems, request, merchant, settings, matching)
    payer = None
    if request.payer is not None:
        payer = problems.read("payer", _principal_reader(settings), request.payer, "")
    expires_at = _expiry(problems, request, merchant, settings, clocks)
    tolerance = _tolerance(problems, request, merchant)
    usual = settings.level_for(asset.name, request.amount)
    level = problems.read(
        "level", settings.parse_level, _first(request.level, merchant["level"], usual), usual
    )
    late_policy = LatePolicy(_first(request.late_policy, merchant["late_policy"], settings.late_policy))
    generated = request.reference is None
    salt = request.salt or entropy(SALT_BYTES)
    reference = request.reference or random_reference(entropy)
    not_before = _not_before(problems, request, matching, clocks, expires_at)
    problems.check()
    return Intent(
        id=new_id("pi_", clocks.machine, entropy),
        merchant=merchant["id"],
        asset=asset.name,
        asset_identifier=asset.identifier,
        recipient=recipient,
        payer=payer,
        reference=reference,
        reference_generated=generated,
        terms_hash=terms_hash(
            amount=request.amount, expires_at=expires_at, merchant=recipient, salt=salt, token=asset.contract
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
        checkout_token=urlsafe_b64encode(entropy(CHECKOUT_TOKEN_BYTES)).rstrip(b"=").decode(),
        two_sources=settings.needs_two_sources(asset.name, request.amount),
        payment_link=payment_link,
        **{name: value for name in _PASSED_ON if (value := getattr(request, name)) is not None},
    )


def create(
    connection: Connection,
    request: NewPaymentIntent,
    *,
    merchant_id: str,
    settings: Settings,
    settler: Settler,
    now: float,
    payment_link: str | None = None,
    entropy: Entropy = os.urandom,
) -> str:
    """Store an intent, give it the money that came before it, decide how it stands; return its id.

    ``payment_link``: the id of the link that it is started from.

    Holds the cursor, so that no step of the chain and no other intent comes in between; the caller's
    transaction commits all or nothing. Raises :class:`Refused` (``validation``, ``reference_taken``,
    ``terms_taken``, ``recipient_in_use``, ``merchant_disabled``) and :class:`NotFound` for the merchant.
    """
    [made] = create_many(
        connection,
        [request],
        merchant_id=merchant_id,
        settings=settings,
        settler=settler,
        now=now,
        payment_link=payment_link,
        entropy=entropy,
    )
    if isinstance(made, Refused):
        raise made
    return made


def create_many(
    connection: Connection,
    requests: Sequence[NewPaymentIntent],
    *,
    merchant_id: str,
    settings: Settings,
    settler: Settler,
    now: float,
    payment_link: str | None = None,
    entropy: Entropy = os.urandom,
) -> Sequence[str | Refused]:
    """Store intents as :func:`create` does, all or none; return for each its id, or why it is refused.

    With one refusal among them nothing is stored. A wrong one takes nothing from those after it.
    Raises :class:`Refused` (``merchant_disabled``) and :class:`NotFound` for the merchant.
    """
    cursor = chain_state.load_cursor(connection, lock=True)
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
                prepare(
                    request,
                    merchant=merchant,
                    settings=settings,
                    clocks=clocks,
                    payment_link=payment_link,
                    entropy=entropy,
                )
            )
        except Refused as refused:
            made.append(refused)
    uniqueness = UniquenessChecker(connection, merchant=merchant_id, time=clock.time)
    uniqueness.load([intent for intent in made if isinstance(intent, Intent)])
    for place, intent in enumerate(made):
        if isinstance(intent, Intent):
            try:
                made[place] = _reserve_reference(uniqueness, intent, entropy)
            except Refused as refused:
                made[place] = refused
    intents = [intent for intent in made if isinstance(intent, Intent)]
    if intents and len(intents) == len(made):
        intent_store.add_intents(
            connection, [(intent, label_keys_of(intent), reference_key_of(intent)) for intent in intents]
        )
        _match_existing_transfers(connection, intents)
        settler.settle(connection, [intent.id for intent in intents], clock, now=now)
    return [intent.id if isinstance(intent, Intent) else intent for intent in made]


def random_reference(entropy: Entropy) -> str:
    """Return 12 random Crockford base32 characters: easy to read and type, 60 bits."""
    number = int.from_bytes(entropy(8), "big")
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(0, 5 * _REFERENCE_LENGTH, 5))


def _find_asset(problems: Problems, name: str | None, settings: Settings) -> AssetSpec:
    asset = settings.assets.get("sbtc" if name is None else name)
    if asset is None:
        problems.add(
            "asset", f"{quote(name)} is not an asset of the settings; write {', '.join(settings.assets)}"
        )
    return asset or settings.assets["sbtc"]


def _find_recipient(
    problems: Problems,
    request: NewPaymentIntent,
    merchant: Mapping[str, Any],
    settings: Settings,
    matching: Match,
) -> str:
    default = str(merchant["recipient"])
    if request.recipient is not None:
        return problems.read("recipient", _principal_reader(settings), request.recipient, default)
    if matching is Match.RECIPIENT:
        problems.add("recipient", "is missing; match = recipient needs an address of its own")
    return default


def _expiry(
    problems: Problems,
    request: NewPaymentIntent,
    merchant: Mapping[str, Any],
    settings: Settings,
    clocks: Clocks,
) -> int:
    """Return the moment at which the intent expires, unix seconds."""
    moment = request.expires_at
    if moment is None:
        return clocks.later + int(_first(request.expires_in, merchant["ttl"], settings.default_ttl))
    if request.expires_in is not None:
        problems.add("expires_in", "and expires_at exclude each other; give one")
    if moment <= clocks.machine:
        problems.add("expires_at", "is not ahead of this machine's clock; give a later time")
    elif moment <= clocks.later:
        newest = rfc3339(clocks.later)
        problems.add(
            "expires_at",
            f"is not ahead of the chain, whose newest block is of {newest}; give a later time",
        )
    elif moment > clocks.later + MAX_TTL_SECONDS:
        problems.add("expires_at", "is more than 366d ahead; give an earlier time")
    return moment


def _tolerance(problems: Problems, request: NewPaymentIntent, merchant: Mapping[str, Any]) -> int:
    tolerance = int(_first(request.tolerance, merchant["tolerance"], 0))
    if tolerance >= request.amount:
        whose = "" if request.tolerance is not None else ", the merchant's default,"
        problems.add("tolerance", f"{tolerance}{whose} is not below the amount; give a smaller one")
    return tolerance


def _not_before(
    problems: Problems, request: NewPaymentIntent, matching: Match, clocks: Clocks, expires_at: int
) -> int:
    if matching is Match.RECIPIENT:
        if request.not_before is not None:
            problems.add(
                "not_before",
                "is fixed by match = recipient: nothing before the creation counts; leave it out",
            )
        return max(0, clocks.earlier - CLOCK_SLACK_SECONDS)
    if request.not_before is None:
        return max(0, clocks.earlier - LOOKBACK_SECONDS)
    if request.not_before >= expires_at and not problems.about("expires_at", "expires_in"):
        problems.add("not_before", "is not before the intent expires; give an earlier time")
    return request.not_before


def _principal_reader(settings: Settings) -> Any:
    def read(text: str) -> str:
        return str(settings.network_facts.parse_principal(text))

    return read


def _reserve_reference(uniqueness: UniquenessChecker, intent: Intent, entropy: Entropy) -> Intent:
    """Return the intent, with a reference that is free: drawn again where it is ours. Raises
    :class:`Refused`.
    """
    for _ in range(_MAX_DRAWS):
        user = uniqueness.reference_owner(intent)
        if user is None:
            break
        if not intent.reference_generated:
            message = f"{intent.reference} is in use by {user}; choose another one"
            raise Refused("reference_taken", errors=[{"field": "reference", "message": message}])
        intent = replace(intent, reference=random_reference(entropy))
        uniqueness.load([intent])
    else:
        raise RuntimeError(
            f"{_MAX_DRAWS} random references were all in use: the source of randomness is broken"
        )
    uniqueness.check(intent)
    uniqueness.reserve(intent)
    return intent


def _match_existing_transfers(connection: Connection, intents: Sequence[Intent]) -> None:
    """Match the stored transfers that carry the intents' labels once more, now that the intents exist."""
    keys = {key for intent in intents for key in label_keys_of(intent)}
    dedicated = {intent.recipient for intent in intents if intent.match is Match.RECIPIENT}
    unmatched = transfer_store.find_unmatched(connection, keys, dedicated=dedicated)
    candidates = Candidates.load(
        connection,
        {transfer.claim.label for transfer in unmatched},
        {transfer.claim.recipient for transfer in unmatched},
    )
    for transfer in unmatched:
        found = candidates.match(transfer.claim)
        if found.intent is not None:
            transfer_store.assign_transfer(connection, transfer.id, found.intent.id, found.intent.merchant)
        else:
            transfer_store.set_unmatched_reason(connection, transfer, found)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


__all__ = ["LOOKBACK_SECONDS", "Refused", "create", "create_many", "prepare", "random_reference"]
