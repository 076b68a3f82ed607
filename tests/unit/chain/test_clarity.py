"""The Clarity codec against values that the chain accepts, bytes that it refuses, and its own limits."""

import json
from pathlib import Path

import pytest

from chain import clarity
from chain.address import Principal
from chain.clarity import (
    Bool,
    Buffer,
    ClarityError,
    Err,
    Int,
    List,
    NoneValue,
    Ok,
    PrincipalValue,
    Some,
    StringAscii,
    StringUtf8,
    Tuple,
    UInt,
)
from chain.clarity_repr import to_repr

VECTORS = json.loads((Path(__file__).parents[2] / "data/vectors/clarity-values.json").read_text())
ZERO = bytes(20)


def raw(vector):
    return bytes.fromhex(vector["hex"].removeprefix("0x"))


def plain(value):
    """Write a value in the vectors' own typed JSON."""
    match value:
        case Int(number):
            return {"type": "int", "value": str(number)}
        case UInt(number):
            return {"type": "uint", "value": str(number)}
        case Bool(flag):
            return {"type": "bool", "value": flag}
        case Buffer(data):
            return {"type": "buffer", "value": "0x" + data.hex()}
        case PrincipalValue(principal):
            return {"type": "principal", "value": str(principal)}
        case StringAscii(text):
            return {"type": "string-ascii", "value": text}
        case StringUtf8(text):
            return {"type": "string-utf8", "value": text}
        case NoneValue():
            return {"type": "none", "value": None}
        case Some(inner):
            return {"type": "some", "value": plain(inner)}
        case Ok(inner):
            return {"type": "ok", "value": plain(inner)}
        case Err(inner):
            return {"type": "err", "value": plain(inner)}
        case List(items):
            return {"type": "list", "value": [plain(item) for item in items]}
        case Tuple(entries):
            return {"type": "tuple", "value": {name: plain(item) for name, item in entries}}


@pytest.mark.parametrize("vector", VECTORS["values"], ids=lambda vector: vector["name"])
def test_a_value_is_read_written_and_shown_as_others_do(vector):
    value = clarity.decode(raw(vector))
    assert plain(value) == vector["value"]
    assert clarity.encode(value) == raw(vector)
    if vector["repr"] is not None:
        assert to_repr(value) == vector["repr"]


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=lambda vector: vector["why"])
def test_malformed_bytes_get_stacks_cores_answer(vector):
    if vector["stacks_core"] == "accept":
        value = clarity.decode(raw(vector))
        assert clarity.decode(clarity.encode(value)) == value
    else:
        with pytest.raises(ClarityError):
            clarity.decode(raw(vector))


def test_tuple_entries_are_written_in_byte_order_however_they_came():
    entries = (("b", UInt(1)), ("Z", UInt(2)), ("a-b", UInt(3)), ("a1", UInt(4)))
    ordered = Tuple.of(dict(entries))
    assert [name for name, _ in ordered.entries] == ["Z", "a-b", "a1", "b"]
    assert clarity.encode(Tuple(entries)) == clarity.encode(ordered)
    assert ordered.as_dict() == dict(entries)


def nested(levels, innermost):
    value = innermost
    for _ in range(levels):
        value = Some(value)
    return value


def test_depth_is_limited_to_32_both_ways():
    deepest = nested(31, UInt(1))
    assert clarity.decode(clarity.encode(deepest)) == deepest
    with pytest.raises(ClarityError, match="deeper than 32"):
        clarity.encode(nested(32, UInt(1)))
    with pytest.raises(ClarityError, match="deeper than 32"):
        clarity.decode(b"\x0a" * 32 + clarity.encode(UInt(1)))


@pytest.mark.parametrize(
    "prefix", [b"\x07", b"\x08", b"\x0a", b"\x0b\x00\x00\x00\x01", b"\x0c\x00\x00\x00\x01\x01a"]
)
def test_a_bomb_of_nested_values_is_refused_without_deep_recursion(prefix):
    with pytest.raises(ClarityError, match="deeper than 32"):
        clarity.decode(prefix * 100_000)


def test_sizes_are_limited():
    with pytest.raises(ClarityError, match="more than a value may have"):
        clarity.decode(bytes(clarity.MAX_SERIALIZED_BYTES + 1))
    too_long = bytes(clarity.MAX_SEQUENCE_BYTES + 1)
    with pytest.raises(ClarityError, match="longer than 1048576"):
        clarity.encode(Buffer(too_long))
    with pytest.raises(ClarityError, match="longer than 1048576"):
        clarity.decode(b"\x02" + len(too_long).to_bytes(4, "big") + too_long)
    longest = Buffer(too_long[:-1])
    assert clarity.decode(clarity.encode(longest)) == longest


@pytest.mark.parametrize(
    "data", [b"\x0b\xff\xff\xff\xff", b"\x0b\0\0\0\x02\x03", b"\x0c\0\0\0\x02\x01a\x03\x01b"]
)
def test_a_count_that_cannot_fit_is_refused_before_anything_is_read(data):
    with pytest.raises(ClarityError, match="entries do not fit"):
        clarity.decode(data)


def common(*items):
    return clarity.decode(clarity.encode(List(items)))


@pytest.mark.parametrize(
    "items",
    [
        (NoneValue(), Some(UInt(1)), NoneValue()),
        (Ok(UInt(1)), Err(Bool(True)), Ok(UInt(2))),
        (List(()), List((UInt(1),)), List(())),
        (Buffer(b""), Buffer(b"longer")),
        (Some(Some(NoneValue())), Some(NoneValue()), Some(Some(Some(Int(1))))),
        (Tuple.of({"a": NoneValue()}), Tuple.of({"a": Some(UInt(1))})),
        (Tuple.of({"a": UInt(1)}), Tuple.of({"a": UInt(1), "b": UInt(2)})),
    ],
)
def test_list_items_may_be_of_types_that_have_a_common_one(items):
    assert common(*items) == List(items)


@pytest.mark.parametrize(
    "items",
    [
        (UInt(1), Int(1)),
        (Some(UInt(1)), NoneValue(), Some(Int(1))),
        (Ok(UInt(1)), Err(UInt(1)), Ok(Int(1))),
        (List((UInt(1),)), List((Bool(True),))),
        (StringAscii("a"), StringUtf8("a")),
        (Tuple.of({"a": UInt(1)}), Tuple.of({"a": Int(1)})),
        (Tuple.of({"a": UInt(1), "b": UInt(2)}), Tuple.of({"a": UInt(1)})),
    ],
)
def test_list_items_without_a_common_type_are_refused(items):
    with pytest.raises(ClarityError, match="different types"):
        common(*items)


@pytest.mark.parametrize(
    "value",
    [
        Int(2**127),
        Int(-(2**127) - 1),
        UInt(-1),
        UInt(2**128),
        StringAscii("é"),
        StringAscii("\x7f"),
        StringUtf8("\ud800"),
        Tuple(()),
        Tuple((("a", UInt(1)), ("a", UInt(2)))),
        Tuple.of({"": UInt(1)}),
        Tuple.of({"1a": UInt(1)}),
        Tuple.of({"a" * 129: UInt(1)}),
        PrincipalValue(Principal(32, ZERO)),
        PrincipalValue(Principal(22, ZERO[1:])),
        PrincipalValue(Principal(22, ZERO, "")),
        PrincipalValue(Principal(22, ZERO, "a.b")),
        PrincipalValue(Principal(22, ZERO, "a" * 129)),
    ],
    ids=repr,
)
def test_a_value_that_the_chain_cannot_hold_is_not_written(value):
    with pytest.raises(ClarityError):
        clarity.encode(value)


@pytest.mark.parametrize(
    "name", ["+", "-", "*", "/", "=", "<", ">", "<=", ">=", "a", "is-ok?", "set!", "A1_*"]
)
def test_names_of_the_language_are_names(name):
    assert clarity.is_clarity_name(name)
    value = Tuple.of({name: UInt(1)})
    assert clarity.decode(clarity.encode(value)) == value


@pytest.mark.parametrize("name", ["", "1", "a b", "==", "a\n", "_a", "a" * 129, "é"])
def test_other_names_are_none(name):
    assert not clarity.is_clarity_name(name)


def test_a_principal_is_made_from_its_text():
    text = "SP000000000000000000002Q6VF78.pox-5"
    assert PrincipalValue.parse(text) == PrincipalValue(Principal(22, ZERO, "pox-5"))
    assert to_repr(PrincipalValue.parse(text)) == f"'{text}"


def test_the_transient_contract_is_a_principal():
    value = PrincipalValue(Principal(22, ZERO, "__transient"))
    assert clarity.decode(clarity.encode(value)) == value
