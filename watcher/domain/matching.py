"""Match transfers to intents (pure).

A transfer counts for one intent only: by its label when recipient and asset fit, else by a recipient that is
dedicated to one intent. Otherwise it stays unmatched, with the reason why.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from chain.model import MEMO_BYTES
from contracts.model import Payment, Route
from watcher.domain.model import Intent

_FOLD = str.maketrans({"O": "0", "I": "1", "L": "1"})

#: Unicode categories of zero-width characters (byte order marks among them), and of hyphens and dashes.
_FORMAT = "Cf"
_DASH = "Pd"


#: What a transfer carries to tell its intent: a memo, and the terms hash of a print event.
Label: TypeAlias = tuple[bytes | None, bytes | None]


class Unmatched(StrEnum):
    """Why a stored transfer belongs to no intent."""

    NO_INTENT = "no_intent"
    WRONG_ASSET = "wrong_asset"
    WRONG_RECIPIENT = "wrong_recipient"
    WRONG_PAYER = "wrong_payer"
    UNKNOWN_TERMS = "unknown_terms"
    BEFORE_INTENT = "before_intent"
    TOO_LATE = "too_late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The properties of a transfer that matching compares.

    ``time`` is the block time; ``terms_hash`` is from the print event of the payment contract.
    """

    asset: str
    sender: str | None
    recipient: str
    time: int
    route: Route
    memo: bytes | None = None
    terms_hash: bytes | None = None

    @property
    def label(self) -> Label:
        """What it carries to tell its intent."""
        return (self.memo, self.terms_hash)

    @classmethod
    def of(cls, payment: Payment) -> "Claim":
        """Return the claim of a payment read from a block."""
        return cls(
            asset=payment.asset,
            sender=payment.sender,
            recipient=payment.recipient,
            time=payment.block.time,
            route=payment.route,
            memo=payment.memo,
            terms_hash=payment.terms_hash,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchResult:
    """The match of one payment: an intent, or the reason why not; ``near`` is an intent it almost fits."""

    intent: Intent | None = None
    reason: Unmatched | None = None
    near: Intent | None = None


def reference_key(reference: str, *, generated: bool) -> str:
    """Return the form in which references are compared: trimmed, upper case.

    Generated references are also compared without hyphens and spaces, which people type to group characters,
    and with look-alikes folded (O to 0, I and L to 1).
    """
    text = trimmed(reference)
    if not generated:
        return text.upper()
    joined = (
        text.translate(_ASCII_SEPARATORS)
        if text.isascii()
        else "".join(character for character in text if not _separates(character))
    )
    return joined.upper().translate(_FOLD)


def intent_keys(reference: str, terms_hash: bytes, *, generated: bool) -> tuple[str, str]:
    """Return the label keys that match an intent."""
    kind = "g" if generated else "r"
    return (f"{kind}:{reference_key(reference, generated=generated)}", _hash_key(terms_hash))


def label_keys(memo: bytes | None, terms_hash: bytes | None) -> tuple[str, ...]:
    """Return the label keys that a transfer carries, the strongest first.

    The print event of the payment contract, if there is one, replaces the memo. Zero bytes at the ends are
    ignored: the chain pads STX memos, wallets pad others, and one hash in 256 ends in one.
    """
    if terms_hash is not None:
        return (_hash_key(terms_hash),)
    keys = []
    bare = (memo or b"").strip(b"\0")
    if 0 < len(bare) <= MEMO_BYTES:
        if len(bare) <= 32:
            keys.append(_hash_key(bare))
        text = trimmed(bare.decode(errors="replace"))
        if text and _is_typed(text):
            keys.append(f"r:{reference_key(text, generated=False)}")
        folded = reference_key(text, generated=True)
        if folded and _is_typed(folded):
            keys.append(f"g:{folded}")
    return tuple(dict.fromkeys(keys))


def trimmed(text: str) -> str:
    """Strip what shells, wallets and editors leave at the ends of a text.

    That is zero bytes, white space, byte order marks and other zero-width characters.
    """
    if _is_typed(text):
        return text.strip()
    kept = [place for place, character in enumerate(text) if not _pads(character)]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def _pads(character: str) -> bool:
    return character == "\0" or character.isspace() or unicodedata.category(character) == _FORMAT


def _separates(character: str) -> bool:
    return _pads(character) or unicodedata.category(character) == _DASH


#: Fast path for ASCII text: this runs several times for each intent and payment.
_ASCII_SEPARATORS = {code: None for code in range(128) if _separates(chr(code))}


def _is_typed(text: str) -> bool:
    return text.isascii() and text.isprintable()


def by_strength(by_label: Mapping[str, Sequence[Intent]], keys: Iterable[str]) -> tuple[Intent, ...]:
    """Return the intents of some label keys, the strongest key first, each once."""
    return tuple({intent.id: intent for key in keys for intent in by_label.get(key, ())}.values())


def match(
    claim: Claim,
    *,
    labelled: Sequence[Intent],
    dedicated: Sequence[Intent],
    previous: str | None = None,
) -> MatchResult:
    """Find the intent that a transfer belongs to.

    ``labelled``: the intents that match its label, the strongest label first. ``dedicated``: the intents with
    a recipient of their own that it went to, oldest first. ``previous``: the id of the intent that the same
    payment belonged to in an orphaned block; such a payment is never too early or too late.
    """
    if claim.route is Route.REFUND:  # a refund pays for nothing, whoever receives it
        return MatchResult(reason=Unmatched.NO_INTENT)
    best: MatchResult | None = None
    by_label = () if claim.route is Route.PEG_IN else labelled
    for intent in (*by_label, *dedicated):
        reason = _misfit(claim, intent, remined=intent.id == previous)
        if reason is None:
            return MatchResult(intent=intent)
        if best is None or _NEARNESS[reason] > _NEARNESS[best.reason or reason]:
            best = MatchResult(reason=reason, near=intent)
    if best is not None:
        return best
    return MatchResult(
        reason=Unmatched.UNKNOWN_TERMS if claim.terms_hash is not None else Unmatched.NO_INTENT
    )


#: Of several reasons the one that came closest to a match is the most useful: the highest is reported.
_NEARNESS = {
    Unmatched.WRONG_RECIPIENT: 0,
    Unmatched.WRONG_ASSET: 1,
    Unmatched.BEFORE_INTENT: 2,
    Unmatched.TOO_LATE: 3,
    Unmatched.WRONG_PAYER: 4,
}


def _misfit(claim: Claim, intent: Intent, *, remined: bool) -> Unmatched | None:
    if claim.recipient != intent.recipient:
        return Unmatched.WRONG_RECIPIENT
    if claim.asset != intent.asset_identifier:
        return Unmatched.WRONG_ASSET
    if intent.payer is not None and claim.sender != intent.payer:
        return Unmatched.WRONG_PAYER
    if remined:  # its time was judged in the orphaned block
        return None
    if claim.time < intent.not_before:
        return Unmatched.BEFORE_INTENT
    if claim.time > intent.monitored_until:
        return Unmatched.TOO_LATE
    return None


def _hash_key(digest: bytes) -> str:
    return f"t:{digest.strip(bytes(1)).hex()}"
