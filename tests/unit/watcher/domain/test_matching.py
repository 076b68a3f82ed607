"""Matching: labels, dedicated recipients, and the reasons why transfers stay unmatched."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.model import BlockHeader
from contracts.model import Payment, Route
from watcher.domain.matching import (
    Claim,
    MatchResult,
    Unmatched,
    by_strength,
    intent_keys,
    label_keys,
    match,
    reference_key,
    trimmed,
)
from watcher.domain.model import Depth, Intent, Match

SBTC = "SM.sbtc-token::sbtc-token"
HASH = bytes(range(1, 33))


def intent(name: str = "one", **changes: Any) -> Intent:
    values: dict[str, Any] = {
        "id": f"pi_{name}",
        "merchant": "mer_1",
        "amount": 100,
        "asset": "sbtc",
        "asset_identifier": SBTC,
        "recipient": "SPSHOP",
        "reference": "K7Q2M8ZR4T9C",
        "terms_hash": HASH,
        "salt": bytes(16),
        "level": None,
        "required": Depth(stacks=1, bitcoin=0),
        "created_at": 500,
        "expires_at": 1000,
        "not_before": 400,
        "inclusion_grace": 100,
        "monitoring": 900,
        "reorg_grace": 50,
    }
    return Intent(**(values | changes))


def claim(**changes: Any) -> Claim:
    values: dict[str, Any] = {
        "asset": SBTC,
        "sender": "SPPAYER",
        "recipient": "SPSHOP",
        "time": 600,
        "route": Route.TRANSFER,
    }
    return Claim(**(values | changes))


# Labels


def test_own_references_are_compared_trimmed_and_upper_case() -> None:
    assert reference_key("  inv-Old 1 ", generated=False) == "INV-OLD 1"


def test_generated_references_forgive_look_alikes_hyphens_and_spaces() -> None:
    """People group what they type, and phones make dashes and wide spaces of it."""
    assert reference_key("oOiI-lL-0", generated=True) == "0011110"
    assert reference_key("k7q2 m8zr\u00a04t9c", generated=True) == "K7Q2M8ZR4T9C"
    assert reference_key("K7Q2\u2013M8ZR \u2014 4T9C", generated=True) == "K7Q2M8ZR4T9C"


#: What shells, wallets and editors leave around what was typed.
PADDING = ["\n", "\r\n", "\t", "\0", "\n\0\0", "\0\n", " ", "\u00a0", "\ufeff", "\u200b", "\u200d", "\u2060"]


@pytest.mark.parametrize("padding", PADDING)
def test_padding_around_a_reference_does_not_count(padding: str) -> None:
    """Zero bytes, white space, byte order marks and zero-width characters at the ends do not count."""
    for memo in (f"INV-1{padding}", f"{padding}INV-1", f"{padding}INV-1{padding}"):
        assert trimmed(memo) == "INV-1"
        assert label_keys(memo.encode(), None)[-2:] == ("r:INV-1", "g:1NV1")


def test_padding_within_an_own_reference_counts() -> None:
    """Only ends are trimmed of a merchant's own reference: a character in its middle makes another one."""
    assert "r:INV 1" in label_keys(b"INV 1", None)
    for memo in ("INV\n1", "INV\0001", "INV\u200b1"):
        assert not [key for key in label_keys(memo.encode(), None) if key.startswith("r:")]


def test_a_reference_of_padding_is_none() -> None:
    """What is nothing but padding names nothing."""
    assert trimmed("\ufeff \n\0") == ""
    assert label_keys(b" \n", None) == ("t:200a",)


def test_zero_bytes_do_not_count_at_either_end_of_a_hash() -> None:
    """A wallet that pads at the left loses nothing either."""
    digest = b"\0\1" + HASH[2:-1] + b"\0"
    assert label_keys(digest, None)[0] == label_keys(b"\0" + digest + b"\0", None)[0]
    assert label_keys(None, digest) == (intent_keys("X", digest, generated=True)[1],)


def test_an_intent_answers_to_its_reference_and_its_terms() -> None:
    digest = HASH[:-1] + b"\0"
    assert intent_keys("k7q2", digest, generated=True) == ("g:K7Q2", f"t:{digest[:-1].hex()}")
    assert intent_keys("inv-1", HASH, generated=False) == ("r:INV-1", f"t:{HASH.hex()}")


def test_a_memo_is_read_as_terms_then_as_own_then_as_generated_reference() -> None:
    assert label_keys(b"lot-1", None) == (f"t:{b'lot-1'.hex()}", "r:LOT-1", "g:10T1")


def test_the_contracts_print_goes_instead_of_the_memo() -> None:
    assert label_keys(b"INV-1", HASH) == (f"t:{HASH.hex()}",)


@pytest.mark.parametrize("memo", [None, b"", b"\0" * 34])
def test_no_memo_is_no_label(memo: bytes | None) -> None:
    assert label_keys(memo, None) == ()


def test_trailing_zero_bytes_do_not_count_in_any_label() -> None:
    assert label_keys(b"INV-1".ljust(34, b"\0"), None) == label_keys(b"INV-1", None)
    assert label_keys(HASH[:-1] + b"\0\0", None)[0] == intent_keys("X", HASH[:-1] + b"\0", generated=True)[1]


def test_a_memo_longer_than_any_memo_is_no_label() -> None:
    assert label_keys(b"A" * 35, None) == ()


def test_a_memo_of_more_than_32_bytes_is_no_terms_hash() -> None:
    assert label_keys(b"A" * 33, None) == (f"r:{'A' * 33}", f"g:{'A' * 33}")


@pytest.mark.parametrize("memo", [b"\xff\xfe", b"\x1b[31mred", b"   ", "١٢".encode()])
def test_bytes_that_cannot_be_typed_are_no_reference(memo: bytes) -> None:
    assert label_keys(memo, None) == (f"t:{memo.hex()}",)


def test_a_memo_of_hyphens_is_no_generated_reference() -> None:
    assert label_keys(b"---", None) == (f"t:{b'---'.hex()}", "r:---")


@given(st.binary(max_size=40))
def test_any_memo_has_at_most_three_different_labels_that_fit_the_column(memo: bytes) -> None:
    keys = label_keys(memo, None)
    assert len(set(keys)) == len(keys) <= 3
    assert all(3 <= len(key) <= 80 for key in keys)


@given(st.text(st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"), min_size=12, max_size=12), st.data())
def test_a_generated_reference_is_found_however_a_person_types_it(
    reference: str, data: st.DataObject
) -> None:
    twins = {"0": "0oO", "1": "1iIlL"}
    typed = "".join(
        data.draw(st.sampled_from(twins.get(c, c + c.lower()))) + data.draw(st.sampled_from(["", "-", " "]))
        for c in reference
    )[:34]
    if reference_key(typed, generated=True) == reference:  # nothing was cut off
        assert intent_keys(reference, HASH, generated=True)[0] in label_keys(typed.encode(), None)


def test_intents_stand_in_the_order_of_their_labels_each_once() -> None:
    one, two = intent("one"), intent("two")
    assert by_strength({"b": [one, two], "a": [two]}, ["a", "x", "b"]) == (two, one)


# Matching


def test_a_claim_says_of_a_payment_what_matching_asks() -> None:
    header = BlockHeader(
        height=1,
        hash="0x1",
        block_hash="0x2",
        parent_hash="0x0",
        time=77,
        burn_height=1,
        burn_hash="0x3",
        burn_time=70,
        tx_count=1,
    )
    payment = Payment(
        block=header,
        tx_id="0xt",
        tx_index=0,
        rank=0,
        asset=SBTC,
        sender="SPPAYER",
        recipient="SPSHOP",
        amount=5,
        route=Route.CONTRACT,
        memo=b"m",
        terms_hash=HASH,
    )
    found = Claim.of(payment)
    assert found == claim(time=77, route=Route.CONTRACT, memo=b"m", terms_hash=HASH)
    assert found.label == (b"m", HASH)


def test_money_with_the_label_belongs_to_the_intent() -> None:
    assert match(claim(), labelled=[intent()], dedicated=[]) == MatchResult(intent=intent())


def test_money_without_any_intent_belongs_to_none() -> None:
    assert match(claim(), labelled=[], dedicated=[]) == MatchResult(reason=Unmatched.NO_INTENT)


def test_contract_money_with_an_unknown_hash_says_so() -> None:
    assert match(claim(terms_hash=HASH), labelled=[], dedicated=[]).reason is Unmatched.UNKNOWN_TERMS


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"recipient": "SPOTHER"}, Unmatched.WRONG_RECIPIENT),
        ({"asset": "STX"}, Unmatched.WRONG_ASSET),
        ({"sender": "SPSTRANGER"}, Unmatched.WRONG_PAYER),
        ({"sender": None}, Unmatched.WRONG_PAYER),
        ({"time": 399}, Unmatched.BEFORE_INTENT),
        ({"time": 2001}, Unmatched.TOO_LATE),
    ],
)
def test_money_that_almost_fits_says_what_is_wrong_and_with_which_intent(
    change: dict[str, Any], reason: Unmatched
) -> None:
    asked = intent(payer="SPPAYER")
    assert match(claim(**change), labelled=[asked], dedicated=[]) == MatchResult(reason=reason, near=asked)


@pytest.mark.parametrize("time", [400, 2000])
def test_the_first_and_the_last_second_count(time: int) -> None:
    assert match(claim(time=time), labelled=[intent()], dedicated=[]).intent == intent()


@pytest.mark.parametrize(("time", "reason"), [(2001, Unmatched.TOO_LATE), (399, Unmatched.BEFORE_INTENT)])
def test_money_that_a_reorg_moved_is_never_too_early_or_too_late_for_its_own_intent(
    time: int, reason: Unmatched
) -> None:
    moved = claim(time=time)
    assert match(moved, labelled=[intent()], dedicated=[], previous="pi_one").intent == intent()
    assert match(moved, labelled=[intent()], dedicated=[], previous="pi_two").reason is reason


def test_a_label_goes_before_a_dedicated_recipient() -> None:
    own = intent("own", match=Match.RECIPIENT)
    assert match(claim(), labelled=[intent()], dedicated=[own]).intent == intent()


def test_a_stray_label_does_not_hinder_a_dedicated_recipient() -> None:
    own = intent("own", match=Match.RECIPIENT)
    other = intent(recipient="SPOTHER")
    assert match(claim(), labelled=[other], dedicated=[own]).intent == own


def test_of_two_intents_with_one_label_the_one_whose_recipient_was_paid_has_it() -> None:
    theirs, ours = intent("theirs", recipient="SPTHEM", merchant="mer_2"), intent("ours")
    assert match(claim(), labelled=[theirs, ours], dedicated=[]).intent == ours


def test_a_peg_in_counts_only_for_a_dedicated_recipient() -> None:
    mint = claim(sender=None, route=Route.PEG_IN)
    own = intent("own", match=Match.RECIPIENT)
    assert match(mint, labelled=[intent()], dedicated=[]).reason is Unmatched.NO_INTENT
    assert match(mint, labelled=[intent()], dedicated=[own]).intent == own


def test_money_that_is_given_back_pays_for_nothing() -> None:
    back = claim(route=Route.REFUND)
    own = intent("own", match=Match.RECIPIENT)
    assert match(back, labelled=[intent()], dedicated=[own]) == MatchResult(reason=Unmatched.NO_INTENT)


def test_of_several_reasons_the_nearest_miss_is_given() -> None:
    far = intent("far", recipient="SPOTHER")
    near = intent("near", payer="SPSOMEBODY")
    for labelled in ([far, near], [near, far]):
        assert match(claim(), labelled=labelled, dedicated=[]) == MatchResult(
            reason=Unmatched.WRONG_PAYER, near=near
        )


@given(
    st.lists(
        st.builds(
            lambda n, recipient, asset, payer, not_before: replace(
                intent(f"{n}"),
                recipient=recipient,
                asset_identifier=asset,
                payer=payer,
                not_before=not_before,
            ),
            st.integers(0, 9),
            st.sampled_from(["SPSHOP", "SPOTHER"]),
            st.sampled_from([SBTC, "STX"]),
            st.sampled_from([None, "SPPAYER", "SPOTHER"]),
            st.sampled_from([0, 700]),
        ),
        max_size=4,
    )
)
def test_a_match_always_fits_and_a_miss_always_has_a_reason(labelled: list[Intent]) -> None:
    found = match(claim(), labelled=labelled, dedicated=[])
    if found.intent is None:
        assert found.reason is not None
    else:
        assert found.intent.recipient == "SPSHOP"
        assert found.intent.asset_identifier == SBTC
        assert found.intent.payer in {None, "SPPAYER"}
        assert found.intent.not_before <= 600
