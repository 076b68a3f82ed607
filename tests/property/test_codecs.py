"""Laws of the codecs: on any input only their own errors, and round trips."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chain import address, clarity
from chain.address import AddressError, Principal, parse_principal
from chain.clarity import ClarityError
from chain.clarity_repr import to_repr

HASHES = st.binary(min_size=20, max_size=20)
NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_-]{0,39}", fullmatch=True)
PRINCIPALS = st.builds(Principal, st.sampled_from([20, 21, 22, 26]), HASHES, st.none() | NAMES)
TUPLE_NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_!?+<>=/*-]{0,20}", fullmatch=True)
ASCII = st.text(st.sampled_from([chr(code) for code in range(32, 127)] + list("\t\n\x0c\r")))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))

LEAVES = (
    st.builds(clarity.Int, st.integers(-(2**127), 2**127 - 1))
    | st.builds(clarity.UInt, st.integers(0, 2**128 - 1))
    | st.builds(clarity.Buffer, st.binary(max_size=40))
    | st.builds(clarity.Bool, st.booleans())
    | st.builds(clarity.PrincipalValue, PRINCIPALS)
    | st.just(clarity.NoneValue())
    | st.builds(clarity.StringAscii, ASCII)
    | st.builds(clarity.StringUtf8, TEXT)
)


def containers(inner):
    """One level more; lists repeat one item, so that all items have the same type."""
    return (
        st.builds(clarity.Ok, inner)
        | st.builds(clarity.Err, inner)
        | st.builds(clarity.Some, inner)
        | st.builds(lambda item, n: clarity.List((item,) * n), inner, st.integers(0, 4))
        | st.builds(clarity.Tuple.of, st.dictionaries(TUPLE_NAMES, inner, min_size=1, max_size=4))
    )


VALUES = st.recursive(LEAVES, containers, max_leaves=12)

#: Bytes that resemble values more often than random ones.
NEARLY = st.lists(
    st.sampled_from(range(16)).map(lambda prefix: bytes((prefix,)))
    | st.integers(0, 3).map(lambda count: count.to_bytes(4, "big"))
    | st.binary(max_size=21)
    | st.just(b"\x01a")
).map(b"".join)


@given(VALUES)
def test_a_value_survives_the_bytes(value):
    assert clarity.decode(clarity.encode(value)) == value
    assert isinstance(to_repr(value), str)


@given(st.binary() | NEARLY)
@example(b"\x02\xff\xff\xff\xff\xaa")
@example(b"\x0b\xff\xff\xff\xff")
def test_any_bytes_are_a_value_or_a_clarity_error(data):
    try:
        value = clarity.decode(data)
    except ClarityError:
        return
    # Only the order of tuple entries may differ from the input.
    assert clarity.decode(clarity.encode(value)) == value
    assert len(clarity.encode(value)) == len(data)


@given(VALUES, st.data())
def test_a_cut_or_a_longer_serialisation_is_refused(value, data):
    raw = clarity.encode(value)
    cut = data.draw(st.integers(0, len(raw) - 1))
    for wrong in (raw[:cut], raw + b"\0"):
        with pytest.raises(ClarityError):
            clarity.decode(wrong)


@given(VALUES, st.data())
def test_a_flipped_byte_never_breaks_the_decoder(value, data):
    raw = bytearray(clarity.encode(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(ClarityError):
        assert len(clarity.encode(clarity.decode(bytes(raw)))) == len(raw)


@given(st.binary(max_size=40))
def test_c32_keeps_every_byte_string_apart(data):
    assert address.c32_decode(address.c32_encode(data)) == data


@given(st.integers(0, 31), HASHES)
def test_an_address_survives_its_text(version, hash160):
    assert address.c32check_decode(address.c32check_encode(version, hash160)) == (version, hash160)


@given(PRINCIPALS)
def test_a_principal_survives_its_text(principal):
    assert parse_principal(str(principal)) == principal
    assert parse_principal(str(principal), mainnet=principal.is_mainnet) == principal


@given(st.text() | st.text("S0123456789ABCDEFGHJKMNPQRSTVWXYZ.a", max_size=60))
def test_any_text_is_a_principal_in_canonical_spelling_or_an_address_error(text):
    with suppress(AddressError):
        assert str(parse_principal(text)) == text


@given(PRINCIPALS, st.data())
def test_a_changed_character_is_noticed(principal, data):
    """The checksum catches any single wrong character, except with a chance of 1 in 4 billion."""
    text = str(Principal(principal.version, principal.hash160))
    index = data.draw(st.integers(1, len(text) - 1))
    other = data.draw(st.sampled_from([c for c in address.ALPHABET if c != text[index]]))
    with pytest.raises(AddressError):
        parse_principal(text[:index] + other + text[index + 1 :])
