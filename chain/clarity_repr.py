"""Clarity values in the text form of the Hiro API's ``repr`` (pure). Such text is never parsed."""

from chain.clarity import (
    Bool,
    Buffer,
    Err,
    Int,
    List,
    NoneValue,
    Ok,
    PrincipalValue,
    Some,
    StringAscii,
    Tuple,
    UInt,
    Value,
)

_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"', "'": "\\'", "\\": "\\\\"}


def to_repr(value: Value) -> str:
    """Format a value as the Hiro API's ``repr`` does, for example ``(tuple (a u1) (b 'SP….token))``."""
    match value:
        case Int(number):
            return str(number)
        case UInt(number):
            return f"u{number}"
        case Buffer(data):
            return f"0x{data.hex()}"
        case Bool(flag):
            return "true" if flag else "false"
        case PrincipalValue(principal):
            return f"'{principal}"
        case Ok(inner):
            return f"(ok {to_repr(inner)})"
        case Err(inner):
            return f"(err {to_repr(inner)})"
        case Some(inner):
            return f"(some {to_repr(inner)})"
        case NoneValue():
            return "none"
        case List(items):
            return f"({' '.join(['list', *map(to_repr, items)])})"
        case Tuple(entries):
            return f"({' '.join(['tuple', *(f'({name} {to_repr(inner)})' for name, inner in entries)])})"
        case StringAscii(text):
            return f'"{_escaped(text)}"'
        case _:
            return f'u"{_escaped(value.value)}"'


def _escaped(text: str) -> str:
    return "".join(map(_escape, text))


def _escape(character: str) -> str:
    """Escape ASCII as Rust does for bytes, the rest as its UTF-8 *bytes* in ``\\u{…}``."""
    if character > "\x7f":
        return f"\\u{{{character.encode().hex()}}}"
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if " " <= character <= "~" else f"\\x{ord(character):02x}"
