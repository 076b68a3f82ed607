"""Clarity values in the API's JSON: hex, text, and the type of a function argument."""

from functools import lru_cache
from typing import Any

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
    Value,
    decode,
)
from chain.clarity_repr import to_repr


def clarity(data: bytes) -> dict[str, Any]:
    """Return ``{hex, repr}``. Bytes that are no value get an empty repr."""
    return {"hex": "0x" + data.hex(), "repr": _repr(data)}


@lru_cache(maxsize=4096)
def _repr(data: bytes) -> str:
    try:
        return to_repr(decode(data))
    except ClarityError:
        return ""


@lru_cache(maxsize=4096)
def clarity_type(data: bytes) -> str:
    """Return the type of a v1 argument as text; "" for bytes that are no value."""
    try:
        return _type_of(decode(data))
    except ClarityError:
        return ""


def _type_of(value: Value) -> str:
    match value:
        case Int():
            return "int"
        case UInt():
            return "uint"
        case Bool():
            return "bool"
        case PrincipalValue():
            return "principal"
        case Buffer(data):
            return f"(buff {len(data)})"
        case StringAscii(text):
            return f"(string-ascii {len(text)})"
        case StringUtf8(text):
            return f"(string-utf8 {len(text)})"
        case NoneValue():
            return "(optional none)"
        case Some(inner):
            return f"(optional {_type_of(inner)})"
        case Ok(inner):
            return f"(response {_type_of(inner)} UnknownType)"
        case Err(inner):
            return f"(response UnknownType {_type_of(inner)})"
        case List(items):
            return f"(list {len(items)} {_type_of(items[0]) if items else 'UnknownType'})"
        case Tuple(entries):
            return f"(tuple {' '.join(f'({name} {_type_of(inner)})' for name, inner in entries)})"
