"""Which intent does money belong to? (pure)

A transfer counts for one intent only: by its label when recipient and asset fit, else by a recipient that is
dedicated to one intent, else for none, with the reason why.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from contracts.model import Payment, Route
from watcher.domain.model import Intent

#: Longest label that a SIP-010 memo carries, bytes.
MEMO_BYTES = 34

_FOLD = str.maketrans({"O": "0", "I": "1", "L": "1"})

#: Unicode categories of characters that have no width, byte order marks among them, and of hyphens and dashes.
_FORMAT = "Cf"
_DASH = "Pd"


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
    """What matching asks of a transfer; ``time`` is its block's, ``terms_hash`` the payment contract's print."""

    asset: str
    sender: str | None
    recipient: str
    time: int
    route: Route
    terms_hash: bytes | None = None

    @classmethod
    def of(cls, payment: Payment) -> "Claim":
        """Return the claim of a payment as it was read from its block."""
        return cls(
            asset=payment.asset,
            sender=payment.sender,
            recipient=payment.recipient,
            time=payment.block.time,
            route=payment.route,
            terms_hash=payment.terms_hash,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchResult:
    """The answer for one payment: an intent, or why not; ``near`` is the intent that it almost fits."""

    intent: Intent | None = None
    reason: Unmatched | None = None
    near: Intent | None = None


def reference_key(reference: str, *, generated: bool) -> str:
    """Return the form in which references are compared: trimmed, upper case.

    Ours also without hyphens and spaces, in which people group what they type, and without look-alikes.
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
    """Return the label keys that an intent answers to."""
    kind = "g" if generated else "r"
    return (f"{kind}:{reference_key(reference, generated=generated)}", _hash_key(terms_hash))


def label_keys(memo: bytes | None, terms_hash: bytes | None) -> tuple[str, ...]:
    """Return the label keys that a transfer carries, the strongest first.

    The payment contract's print, where there is one, goes instead of the memo. Zero bytes at the ends never count: the
    chain pads STX memos, wallets pad others, and one hash in 256 ends in one.
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
    """Return a text without what shells, wallets and editors leave at its ends.

    That is zero bytes, white space, byte order marks and other characters without width.
    """
    if _is_typed(text):
        return text.strip()
    kept = [place for place, character in enumerate(text) if not _pads(character)]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def _pads(character: str) -> bool:
    return character == "\0" or character.isspace() or unicodedata.category(character) == _FORMAT


def _separates(character: str) -> bool:
    return _pads(character) or unicodedata.category(character) == _DASH


#: For the usual text, which is looked at several times for each intent and payment.
_ASCII_SEPARATORS = {code: None for code in range(128) if _separates(chr(code))}


def _is_typed(text: str) -> bool:
    return text.isascii() and text.isprintable()


def by_strength(by_label: Mapping[str, Sequence[Intent]], keys: Iterable[str]) -> tuple[Intent, ...]:
    """Return the intents of some label keys, the strongest label first, each once."""
    return tuple({intent.id: intent for key in keys for intent in by_label.get(key, ())}.values())


def match(
    claim: Claim,
    *,
    labelled: Sequence[Intent],
    dedicated: Sequence[Intent],
    previous: str | None = None,
) -> MatchResult:
    """Find the intent that a transfer belongs to.

    ``labelled`` are the intents that answer to its label, the strongest label first; ``dedicated`` those whose own
    recipient it went to, oldest first; ``previous`` is the id of the intent that the same payment belonged to in a
    block which a reorg took: such a payment is never too early or too late.
    """
    if claim.route is Route.REFUND:  # money given back pays for nothing, whoever gets it
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


#: Of several reasons the one that came closest to a match is the one worth telling.
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
    if remined:  # whether it came in time was judged in the block that a reorg took
        return None
    if claim.time < intent.not_before:
        return Unmatched.BEFORE_INTENT
    if claim.time > intent.monitored_until:
        return Unmatched.TOO_LATE
    return None


def _hash_key(digest: bytes) -> str:
    return f"t:{digest.strip(bytes(1)).hex()}"
