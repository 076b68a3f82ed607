"""Sample events: what a webhook of each type says, about a payment intent that does not exist (pure).

Each is decided and written by the code that writes the real ones, from facts that never happened. Nothing in
it is a merchant's but their own address; its ids are never given to anything: the time in them is 1970.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from chain.address import c32check_encode
from contracts.networks import NETWORKS, AssetSpec, NetworkName
from contracts.terms import SALT_BYTES, terms_hash
from notifier.events import EventType
from notifier.ids import new_id
from watcher.domain.model import (
    LEVELS,
    ChainClock,
    Facts,
    Failure,
    Inclusion,
    Intent,
    OperatorAction,
    OperatorActionKind,
    Repayment,
)
from watcher.domain.server_info import ServerInfo
from watcher.domain.settlement import decide
from watcher.indexer.intent_settlement import EventContext, Settlement

#: Amount of a sample's intent, base units.
AMOUNT = 50_000

_HEIGHT = 5_012_346
_BURN_HEIGHT = 925_003
_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample: whom it is for, and what makes its ids differ from another's (``seed``)."""

    seed: str
    merchant: str
    recipient: str
    asset: AssetSpec
    server_info: ServerInfo
    #: Unix seconds of this machine's clock.
    now: int

    def data(self, kind: EventType) -> dict[str, Any]:
        """Return the ``data`` of a sample event of a type that is about a payment."""
        story = _STORIES[kind]
        intent, facts = story.intent(self.intent, self), story.facts(self)
        settlement = Settlement(
            row={"succeeded_at": None, "in_flight": False},
            intent=intent,
            facts=facts,
            sent=0,
            decision=decide(intent, facts, (), self.clock),
        )
        context = EventContext(
            server_info=self.server_info,
            clock=self.clock,
            now=self.now,
            seen_at=None,
        )
        [event] = [event for event in settlement.build_events(context) if event.type is kind]
        data: dict[str, Any] = json.loads(event.body)["data"]
        data["payment_intent"]["livemode"] = False
        return data

    @cached_property
    def clock(self) -> ChainClock:
        return ChainClock(height=_HEIGHT, hash=self.hash("tip"), time=self.now, burn_height=_BURN_HEIGHT)

    @cached_property
    def intent(self) -> Intent:
        """The intent before anything came: created ten minutes ago, to be paid within the hour."""
        expires_at = self.now + _HOUR
        salt = self._digest("salt")[:SALT_BYTES]
        return Intent(
            id=new_id("pi_", 0, lambda size: self._digest("intent")[:size]),
            merchant=self.merchant,
            amount=AMOUNT,
            asset=self.asset.name,
            asset_identifier=self.asset.identifier,
            recipient=self.recipient,
            # No reference that is made here has an L.
            reference="SAMPLE" + self._digest("reference").hex()[:6].upper(),
            terms_hash=terms_hash(
                amount=AMOUNT,
                expires_at=expires_at,
                merchant=self.recipient,
                salt=salt,
                token=self.asset.contract,
            ),
            salt=salt,
            level="anchored",
            required=LEVELS["anchored"],
            created_at=self.now - 600,
            expires_at=expires_at,
            not_before=self.now - 600,
            inclusion_grace=600,
            monitoring=24 * _HOUR,
            reorg_grace=2 * _HOUR,
            metadata={"order_id": "sample"},
            description="A sample: no payment was made",
        )

    @property
    def payer(self) -> str:
        mainnet = NETWORKS[NetworkName(self.server_info.network)].mainnet
        return c32check_encode(22 if mainnet else 26, self._digest("payer")[:20])

    def hash(self, name: str) -> str:
        """Return the hash of a transaction or block that does not exist."""
        return f"0x{self._digest(name).hex()}"

    def _digest(self, name: str) -> bytes:
        return hashlib.sha256(f"sample|{self.seed}|{name}".encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Story:
    """What happened, so that an event of a type is sent."""

    facts: Callable[[Sample], Facts] = lambda _: Facts()
    intent: Callable[[Intent, Sample], Intent] = lambda intent, _: intent


def _over(intent: Intent, _: Sample) -> Intent:
    """Return the intent with its hour over."""
    return replace(
        intent,
        created_at=intent.created_at - 2 * _HOUR,
        not_before=intent.not_before - 2 * _HOUR,
        expires_at=intent.expires_at - 2 * _HOUR,
    )


def _bound(intent: Intent, sample: Sample) -> Intent:
    """Return the intent for this payer alone, whose failed attempt ends it."""
    return replace(intent, payer=sample.payer)


def _paid(sample: Sample, *, blocks_ago: int = 3) -> Inclusion:
    return Inclusion(sender=sample.payer, amount=AMOUNT, **_place(sample, "payment", blocks_ago))


def _refund(sample: Sample) -> Repayment:
    place = _place(sample, "refund", 2)
    return Repayment(sender=sample.recipient, recipient=sample.payer, amount=AMOUNT, **place)


def _failure(sample: Sample) -> Failure:
    place = _place(sample, "failure", 3)
    del place["rank"]
    return Failure(sender=sample.payer, reason="abort_by_post_condition", **place)


def _place(sample: Sample, name: str, blocks_ago: int) -> dict[str, Any]:
    return {
        "tx_id": sample.hash(name),
        "rank": 0,
        "tx_index": 0,
        "block_hash": sample.hash(f"block of the {name}"),
        "height": _HEIGHT - 10 * blocks_ago,
        "time": sample.now - 100 * blocks_ago,
        "burn_height": _BURN_HEIGHT - blocks_ago,
    }


_CANCEL = OperatorAction(kind=OperatorActionKind.CANCEL, height=_HEIGHT)

#: One for each type that is about a payment.
_STORIES = {
    EventType.CREATED: _Story(),
    EventType.PROCESSING: _Story(facts=lambda sample: Facts(inclusions=(_paid(sample, blocks_ago=0),))),
    EventType.SUCCEEDED: _Story(facts=lambda sample: Facts(inclusions=(_paid(sample),))),
    EventType.FAILED: _Story(facts=lambda sample: Facts(failures=(_failure(sample),)), intent=_bound),
    EventType.EXPIRED: _Story(intent=_over),
    EventType.CANCELED: _Story(facts=lambda _: Facts(actions=(_CANCEL,))),
    EventType.ATTENTION: _Story(facts=lambda sample: Facts(inclusions=(_paid(sample),)), intent=_over),
    EventType.REFUNDED: _Story(
        facts=lambda sample: Facts(inclusions=(_paid(sample),), refunds=(_refund(sample),))
    ),
}
