"""Requests for intents: everything that is wrong is named by its field; what is right is frozen with its
policy.
"""

import os
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.testing import principal
from contracts.networks import NETWORKS, NetworkName, sbtc_asset
from contracts.terms import terms_hash
from watcher.config.settings import Settings
from watcher.domain.clocks import Clocks
from watcher.domain.matching import reference_key
from watcher.domain.model import Depth, Intent, LatePolicy, Match
from watcher.errors import Refused
from watcher.schemas import NewPaymentIntent
from watcher.services.intent_requests import prepare, random_reference

NOW = 1_800_000_000.75
SETTINGS = Settings(database_url="sqlite:///unused.db")
MAINNET = NETWORKS[NetworkName.MAINNET]
SHOP, OTHER = principal("shop"), principal("other")
TESTNET = principal("shop", mainnet=False)

MERCHANT: dict[str, Any] = {
    "id": "mer_1",
    "recipient": SHOP,
    "level": None,
    "ttl": None,
    "tolerance": None,
    "late_policy": None,
}


def ask(
    merchant: dict[str, Any] | None = None,
    settings: Settings = SETTINGS,
    now: float = NOW,
    chain: int | None = None,
    **fields: Any,
) -> Intent:
    request = NewPaymentIntent.of({"amount": 50_000} | fields)
    clocks = Clocks(machine=now, chain=chain)
    return prepare(request, merchant=MERCHANT | (merchant or {}), settings=settings, clocks=clocks)


def refused(**fields: Any) -> dict[str, str]:
    """Return what is said of each wrong field."""
    with pytest.raises(Refused) as caught:
        ask(**fields)
    assert caught.value.code == "validation"
    assert caught.value.exit_code == 2
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        error["field"] for error in caught.value.errors
    ]
    return {error["field"]: error["message"] for error in caught.value.errors}


def test_an_amount_is_all_that_is_needed() -> None:
    intent = ask()
    assert intent.id.startswith("pi_")
    assert (intent.merchant, intent.amount, intent.asset) == ("mer_1", 50_000, "sbtc")
    assert intent.asset_identifier == sbtc_asset(MAINNET.sbtc_contract)
    assert (intent.recipient, intent.payer, intent.match) == (SHOP, None, Match.REFERENCE)
    assert (intent.tolerance, intent.late_policy, intent.metadata) == (0, LatePolicy.HOLD, {})
    assert (intent.level, intent.required) == ("included", Depth(stacks=1, bitcoin=0))
    assert (intent.created_at, intent.expires_at) == (1_800_000_000, 1_800_003_600)
    assert intent.not_before == intent.created_at - 86_400
    assert (intent.inclusion_grace, intent.monitoring, intent.reorg_grace) == (600, 86_400, 7200)
    assert intent.reference_generated
    assert len(intent.salt) == 16


def test_everything_can_be_asked_for() -> None:
    intent = ask(
        amount="100000000",
        asset="stx",
        recipient=OTHER,
        reference="  inv-1 ",
        expires_in="30m",
        level="stacks=2,bitcoin=3",
        payer=SHOP,
        tolerance="5",
        late_policy="accept",
        not_before="2020-01-01T00:00:00Z",
        salt="0x" + "ab" * 16,
        metadata={"order": "1"},
    )
    assert (intent.asset, intent.asset_identifier, intent.recipient, intent.payer) == (
        "stx",
        "STX",
        OTHER,
        SHOP,
    )
    assert (intent.reference, intent.reference_generated) == ("inv-1", False)
    assert intent.expires_at == intent.created_at + 1800
    assert (intent.level, intent.required) == (None, Depth(stacks=2, bitcoin=3))
    assert (intent.tolerance, intent.late_policy) == (5, LatePolicy.ACCEPT)
    assert intent.not_before == datetime(2020, 1, 1, tzinfo=UTC).timestamp()
    assert (intent.salt, intent.metadata) == (b"\xab" * 16, {"order": "1"})


def test_the_terms_hash_is_the_contracts() -> None:
    intent, stx = ask(), ask(asset="stx")
    for made, token in ((intent, MAINNET.sbtc_contract), (stx, None)):
        assert made.terms_hash == terms_hash(
            amount=made.amount, expires_at=made.expires_at, merchant=SHOP, salt=made.salt, token=token
        )


def test_the_merchants_defaults_go_before_the_settings_and_the_requests_before_both() -> None:
    theirs = {"level": {"stacks": 3, "bitcoin": 1}, "ttl": 60, "tolerance": 7, "late_policy": "accept"}
    intent = ask(merchant=theirs)
    assert (intent.required, intent.level) == (Depth(stacks=3, bitcoin=1), None)
    assert intent.expires_at - intent.created_at == 60
    assert (intent.tolerance, intent.late_policy) == (7, LatePolicy.ACCEPT)
    own = ask(merchant=theirs, level="settled", expires_in=90, tolerance=0, late_policy="hold")
    assert (own.level, own.expires_at - own.created_at) == ("settled", 90)
    assert (own.tolerance, own.late_policy) == (0, LatePolicy.HOLD)


@pytest.mark.parametrize(
    ("amount", "level"), [(99_999, "included"), (100_000, "anchored"), (10_000_000, "settled")]
)
def test_the_level_goes_by_the_amount(amount: int, level: str) -> None:
    assert ask(amount=amount).level == level


@pytest.mark.parametrize(
    "amount",
    [
        None,
        0,
        -1,
        2**128,
        1.0,
        0.5,
        True,
        "",
        "0",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x10",
        "١٢",
        " 1",
        "1_000",
        [1],
        {},
    ],
)
def test_what_is_no_amount_is_refused(amount: object) -> None:
    assert list(refused(amount=amount)) == ["amount"]


@pytest.mark.parametrize("amount", [1, "1", 2**128 - 1, str(2**128 - 1)])
def test_every_amount_of_128_bits_is_taken(amount: object) -> None:
    assert ask(amount=amount).amount == int(str(amount))


def test_huge_digits_are_refused_without_reading_them() -> None:
    message = refused(amount="9" * 1_000_000)["amount"]
    assert len(message) < 300


@pytest.mark.parametrize("field", ["recipient", "payer"])
@pytest.mark.parametrize("text", ["", "SP", SHOP[:-1] + "0", SHOP.lower(), TESTNET, 5, f"{SHOP}.9bad"])
def test_what_is_no_principal_of_this_network_is_refused(field: str, text: object) -> None:
    assert list(refused(**{field: text})) == [field]


def test_contracts_can_pay_and_be_paid() -> None:
    secret_store = f"{OTHER}.vault"
    intent = ask(recipient=secret_store, payer=secret_store)
    assert (intent.recipient, intent.payer) == (secret_store, secret_store)


def test_an_unknown_asset_is_refused_with_the_known_ones() -> None:
    assert "sbtc, stx" in refused(asset="doge")["asset"]
    assert list(refused(asset=["sbtc"])) == ["asset"]


@pytest.mark.parametrize("reference", ["", "   ", "x" * 35, "ünd", "a\nb", "١٢", 7, "tab\t"])
def test_a_reference_that_fits_no_memo_is_refused(reference: object) -> None:
    assert list(refused(reference=reference)) == ["reference"]


def test_a_reference_of_34_bytes_fits() -> None:
    assert ask(reference=" " + "x" * 34 + " ").reference == "x" * 34


@pytest.mark.parametrize("value", [0, 0.5, "500ms", -1, "367d", 366 * 86400 + 1, "soon", True, float("nan")])
def test_a_life_outside_one_second_to_366_days_is_refused(value: object) -> None:
    assert list(refused(expires_in=value)) == ["expires_in"]


@pytest.mark.parametrize(
    ("value", "seconds"), [(1, 1), ("1s", 1), ("366d", 366 * 86400), ("90", 90), (60.0, 60)]
)
def test_a_life_is_a_duration(value: object, seconds: int) -> None:
    intent = ask(expires_in=value)
    assert intent.expires_at - intent.created_at == seconds


@pytest.mark.parametrize(
    "value",
    [
        1_800_000_000,
        "1800000000",
        "2027-01-15T08:00:00Z",
        "2020-01-01T00:00:00Z",
        0,
        -5,
        1_800_000_000 + 366 * 86400 + 1,
        "9999-12-31T23:59:59Z",
    ],
)
def test_an_expiry_that_is_not_ahead_or_too_far_ahead_is_refused(value: object) -> None:
    assert list(refused(expires_at=value)) == ["expires_at"]


@pytest.mark.parametrize(
    "value",
    [
        "2027-01-15T08:00:01",
        "2027-01-15",
        "2027-02-30T08:00:01Z",
        "2027-01-15T25:00:01Z",
        "20270115T080001Z",
        1_800_000_100.5,
        True,
        [],
    ],
)
def test_what_is_no_time_with_a_zone_is_refused(value: object) -> None:
    assert list(refused(expires_at=value)) == ["expires_at"]


@pytest.mark.parametrize(
    "value",
    [
        1_800_000_001,
        "1800000001",
        "2027-01-15T08:00:01Z",
        "2027-01-15T08:00:01.000Z",
        "2027-01-15T08:00:01.999Z",
        "2027-01-15t09:00:01+01:00",
        "2027-01-15 03:00:01-05:00",
    ],
)
def test_the_next_second_is_ahead_however_it_is_written(value: object) -> None:
    assert ask(expires_at=value).expires_at == 1_800_000_001


def test_a_fraction_of_a_second_is_cut_before_the_expiry_is_judged() -> None:
    """JavaScript's ``toISOString()`` is accepted; a fraction does not put a passed second into the future."""
    assert ask(expires_at="2027-01-15T08:30:00.123Z").expires_at == 1_800_001_800
    assert list(refused(expires_at="2027-01-15T08:00:00.999Z")) == ["expires_at"]


def test_a_lifetime_counts_from_the_chain_clock_where_that_is_ahead() -> None:
    """A machine clock two hours behind makes no intent that is over before it began."""
    intent = ask(expires_in=60, chain=1_800_007_200)
    assert (intent.created_at, intent.expires_at) == (1_800_000_000, 1_800_007_260)
    assert ask(chain=1_800_007_200).expires_at == 1_800_010_800
    assert ask(chain=1_799_992_800).expires_at == 1_800_003_600


def test_an_expiry_lies_ahead_of_both_clocks() -> None:
    """A time that the chain has passed is refused although this machine has not reached it, and the message
    says so.
    """
    behind = refused(expires_at=1_800_007_200, chain=1_800_007_200)
    assert "2027-01-15T10:00:00.000Z" in behind["expires_at"]
    assert ask(expires_at=1_800_007_201, chain=1_800_007_200).expires_at == 1_800_007_201
    assert list(refused(expires_at=1_800_000_000, chain=1_799_992_800)) == ["expires_at"]


def test_an_expiry_lies_at_most_a_year_ahead_of_the_later_clock() -> None:
    """The longest lifetime can be asked for as a time too, whichever clock is behind."""
    latest = 1_800_007_200 + 366 * 86_400
    assert ask(expires_at=latest, chain=1_800_007_200).expires_at == latest
    assert ask(expires_in="366d", chain=1_800_007_200).expires_at == latest
    assert list(refused(expires_at=latest + 1, chain=1_800_007_200)) == ["expires_at"]


def test_the_creation_is_dated_by_the_earlier_clock() -> None:
    """A machine clock that runs ahead makes no money too early that is mined in the next block."""
    intent = ask(match="recipient", recipient=OTHER, chain=1_799_999_850)
    assert intent.not_before == 1_799_999_850 - 120
    assert ask(match="recipient", recipient=OTHER, chain=1_800_007_200).not_before == 1_800_000_000 - 120
    assert ask(chain=1_799_992_800).not_before == 1_799_992_800 - 86_400


def test_two_expiries_are_refused() -> None:
    assert list(refused(expires_in=60, expires_at=1_800_000_100)) == ["expires_in"]


@pytest.mark.parametrize(
    "level", ["deep", "stacks=0,bitcoin=1", {"stacks": 1}, {"stacks": 1, "bitcoin": 7}, 3]
)
def test_a_level_that_is_none_or_beyond_finality_is_refused(level: object) -> None:
    assert list(refused(level=level)) == ["level"]


def test_a_merchants_level_beyond_a_lowered_finality_is_refused() -> None:
    low = Settings(
        database_url="sqlite:///unused.db",
        finality_burn_blocks=2,
        confirmation_tiers={"sbtc": [{"level": "anchored"}]},
    )
    assert list(refused(settings=low, merchant={"level": "settled"})) == ["level"]


@pytest.mark.parametrize("tolerance", [-1, 50_000, 50_001, 0.5, "x", True])
def test_a_tolerance_outside_zero_to_the_amount_is_refused(tolerance: object) -> None:
    assert list(refused(tolerance=tolerance)) == ["tolerance"]


def test_a_merchants_tolerance_that_swallows_the_amount_is_refused() -> None:
    assert "merchant's default" in refused(merchant={"tolerance": 50_000})["tolerance"]


def test_the_largest_tolerance_leaves_one_unit() -> None:
    assert ask(tolerance=49_999).tolerance == 49_999


@pytest.mark.parametrize("salt", ["", "00", "zz" * 16, "0x" + "00" * 17, 5, b"x" * 16, "٠" * 32])
def test_what_is_no_salt_is_refused(salt: object) -> None:
    assert list(refused(salt=salt)) == ["salt"]


@pytest.mark.parametrize("field", ["match", "late_policy"])
@pytest.mark.parametrize("value", ["maybe", "", 1, None.__class__, ["hold"]])
def test_unknown_choices_are_refused(field: str, value: object) -> None:
    assert list(refused(**{field: value})) == [field]


def test_a_dedicated_recipient_has_to_be_named_and_counts_from_its_creation() -> None:
    assert list(refused(match="recipient")) == ["recipient"]
    assert list(refused(match="recipient", recipient=OTHER, not_before=5)) == ["not_before"]
    intent = ask(match="recipient", recipient=OTHER)
    assert (intent.match, intent.recipient) == (Match.RECIPIENT, OTHER)
    assert intent.not_before == intent.created_at - 120, (
        "blocks may be dated a little behind this machine's clock"
    )
    assert ask(match="recipient", recipient=OTHER, now=60.0).not_before == 0


def test_not_before_lies_before_the_expiry() -> None:
    assert ask(not_before=0).not_before == 0
    assert list(refused(not_before="2027-01-15T09:00:00Z")) == ["not_before"]
    assert list(refused(not_before="yesterday")) == ["not_before"]


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        "x",
        {str(n): "" for n in range(51)},
        {"": "x"},
        {"k" * 41: "x"},
        {'a"k': "x"},
        {"k\\": "x"},
        {"k": "x" * 501},
        {"k": 1},
        {"k": None},
        {1: "x"},
        {"k": "\ud800"},
        {"\ud800": "x"},
    ],
)
def test_metadata_that_are_no_small_table_of_texts_are_refused(metadata: object) -> None:
    assert list(refused(metadata=metadata)) == ["metadata"]


def test_metadata_at_their_limits_are_taken() -> None:
    metadata = {f"{n:040d}": "é" * 500 for n in range(50)}
    assert ask(metadata=metadata).metadata == metadata


def test_all_problems_are_told_at_once() -> None:
    wrong = refused(amount=0, recipient="x", expires_in="x", salt="x", reference="", level="x", metadata=1)
    assert sorted(wrong) == ["amount", "expires_in", "level", "metadata", "recipient", "reference", "salt"]


def test_a_document_with_unknown_fields_is_refused_with_a_suggestion() -> None:
    with pytest.raises(Refused) as caught:
        NewPaymentIntent.of({"amount": 1, "referense": "x"})
    assert caught.value.errors == [
        {"field": "referense", "message": "unknown field; did you mean reference?"}
    ]
    with pytest.raises(Refused, match="JSON object"):
        NewPaymentIntent.of([1])
    assert NewPaymentIntent.of({"amount": 1}) == NewPaymentIntent(amount=1)


def test_generated_references_can_be_read_and_typed() -> None:
    for _ in range(200):
        reference = random_reference(os.urandom)
        assert len(reference) == 12
        assert reference_key(reference, generated=True) == reference, "no look-alikes"
    assert random_reference(bytes) == "0" * 12
    assert random_reference(lambda n: b"\xff" * n) == "Z" * 12


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [name for name in NewPaymentIntent.model_fields if name not in ("amount", "merchant")]
        ),
        json_values,
    ),
    json_values,
)
def test_nothing_that_comes_in_breaks_the_reading(fields: dict[str, Any], amount: object) -> None:
    try:
        intent = ask(**fields, amount=amount)
    except Refused:
        return
    assert 0 < intent.amount < 2**128
    assert intent.created_at < intent.expires_at
