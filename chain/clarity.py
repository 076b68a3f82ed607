"""Clarity values and their consensus serialization (pure).

:func:`decode` accepts what stacks-core's untyped read accepts: prefixes 0x00 … 0x0e, whole buffer consumed,
principal version below 32, names as the language allows them, list items of one common type, tuples with at
least one entry and no name twice, type depth up to 32. It is a little more lenient in one point: the *size of
the type* of a list (entries times the largest entry) is not limited. The text form differs between nodes and
APIs, so values are read from bytes only; ``chain.clarity_repr`` writes the form that the Hiro API shows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from chain.address import Principal, parse_principal

#: Longest serialization and longest buffer or string (bytes), deepest nesting (a value inside 31 others).
MAX_SERIALIZED_BYTES = 2 * 1024 * 1024
MAX_SEQUENCE_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NAME_CHARACTERS = 128

_UINT_END = 2**128
_INT_END = 2**127
_CLARITY_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_!?+<>=/*-]*|[-+=/*]|[<>]=?")
#: Names by the old rule, up to 128 bytes. ``__transient`` is the contract that read-only calls run in.
_CONTRACT_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*|__transient")
_ASCII = re.compile(r"[\t\n\x0c\r -~]*")


class ClarityError(ValueError):
    """The bytes are not a Clarity value, or the value cannot be serialized."""


@dataclass(frozen=True, slots=True)
class Int:
    """Signed 128 bits."""

    value: int


@dataclass(frozen=True, slots=True)
class UInt:
    """Unsigned 128 bits."""

    value: int


@dataclass(frozen=True, slots=True)
class Buffer:
    """Raw bytes."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Bool:
    """``true`` or ``false``."""

    value: bool


@dataclass(frozen=True, slots=True)
class PrincipalValue:
    """An address or a contract."""

    value: Principal

    @classmethod
    def parse(cls, text: str) -> "PrincipalValue":
        """Read the canonical text. Raises AddressError."""
        return cls(parse_principal(text))


@dataclass(frozen=True, slots=True)
class Ok:
    """A response that succeeded."""

    value: "Value"


@dataclass(frozen=True, slots=True)
class Err:
    """A response that failed."""

    value: "Value"


@dataclass(frozen=True, slots=True)
class Some:
    """An optional that holds a value."""

    value: "Value"


@dataclass(frozen=True, slots=True)
class NoneValue:
    """An optional that holds nothing."""


@dataclass(frozen=True, slots=True)
class List:
    """Values of one common type."""

    items: tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class Tuple:
    """Named values, in the byte order of their names; make one with :meth:`of`."""

    entries: tuple[tuple[str, "Value"], ...]

    @classmethod
    def of(cls, entries: Mapping[str, "Value"]) -> "Tuple":
        """Sort the entries into the chain's order (names are ASCII, so text order is byte order)."""
        return cls(tuple(sorted(entries.items(), key=lambda entry: entry[0])))

    def as_dict(self) -> dict[str, "Value"]:
        """Return the entries by name."""
        return dict(self.entries)


@dataclass(frozen=True, slots=True)
class StringAscii:
    """Printable ASCII and the white space characters."""

    value: str


@dataclass(frozen=True, slots=True)
class StringUtf8:
    """Unicode text."""

    value: str


Value = (
    Int
    | UInt
    | Buffer
    | Bool
    | PrincipalValue
    | Ok
    | Err
    | Some
    | NoneValue
    | List
    | Tuple
    | StringAscii
    | StringUtf8
)


def decode(data: bytes) -> Value:
    """Deserialize one value from all of ``data``. Raises only ClarityError, whatever the bytes."""
    if len(data) > MAX_SERIALIZED_BYTES:
        raise ClarityError(f"{len(data)} bytes are more than a value may have ({MAX_SERIALIZED_BYTES})")
    reader = _Reader(data)
    value, _ = reader.value(1)
    if reader.left:
        raise ClarityError(f"{reader.left} bytes left over after the value")
    return value


def decode_first(data: bytes, start: int = 0) -> tuple[Value, int]:
    """Deserialize the value that begins at ``start``; return it and its end. Raises only ClarityError."""
    reader = _Reader(data, start)
    value, _ = reader.value(1)
    return value, len(data) - reader.left


def encode(value: Value) -> bytes:
    """Serialize a value as consensus bytes; tuple entries in the byte order of their names.

    Raises ClarityError when a number, length, name or depth is out of range. The caller ensures that the
    items of a list share a type.
    """
    out = bytearray()
    _write(value, out, 1)
    return bytes(out)


def is_clarity_name(name: str) -> bool:
    """Whether functions, assets and tuple entries can have this name."""
    return len(name) <= MAX_NAME_CHARACTERS and _CLARITY_NAME.fullmatch(name) is not None


class _Type(NamedTuple):
    """A value's type, as far as the rule for list items needs it; ``None`` means *not known yet*."""

    kind: str
    parts: tuple["_Type | None", ...] = ()
    names: tuple[str, ...] = ()


_INT, _UINT, _BUFFER, _BOOL = _Type("int"), _Type("uint"), _Type("buffer"), _Type("bool")
_PRINCIPAL, _STRING_ASCII, _STRING_UTF8 = _Type("principal"), _Type("string-ascii"), _Type("string-utf8")


def _common(one: _Type | None, other: _Type | None) -> _Type | None:
    """Return the least type that admits both (stacks-core ``least_supertype_v2_1``)."""
    if other is None or one == other:
        return one
    if one is None:
        return other
    if one.kind != other.kind:
        raise ClarityError(f"list items of different types: {one.kind} and {other.kind}")
    # Like stacks-core, a later tuple may have names that the first one lacks, not the other way round.
    parts = dict(zip(other.names, other.parts, strict=True)) if one.kind == "tuple" else None
    if parts is None:
        pairs = zip(one.parts, other.parts, strict=True)
    elif parts.keys() >= set(one.names):
        pairs = zip(one.parts, (parts[name] for name in one.names), strict=True)
    else:
        raise ClarityError("list items of different types: tuples with other names")
    return _Type(one.kind, tuple(_common(mine, theirs) for mine, theirs in pairs), one.names)


class _Reader:
    """A cursor over the bytes; each length is checked against the bytes left before allocating."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._data = data
        self._position = start

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def value(self, depth: int) -> tuple[Value, _Type]:
        if depth > MAX_DEPTH:
            raise ClarityError(f"values are nested deeper than {MAX_DEPTH}")
        prefix = self._byte()
        match prefix:
            case 0x00:
                return Int(int.from_bytes(self._take(16), "big", signed=True)), _INT
            case 0x01:
                return UInt(int.from_bytes(self._take(16), "big")), _UINT
            case 0x02:
                return Buffer(self._sequence()), _BUFFER
            case 0x03 | 0x04:
                return Bool(prefix == 0x03), _BOOL
            case 0x05:
                return PrincipalValue(Principal(self._version(), self._take(20))), _PRINCIPAL
            case 0x06:
                version, hash160 = self._version(), self._take(20)
                name = self._name(_CONTRACT_NAME, "contract name")
                return PrincipalValue(Principal(version, hash160, name)), _PRINCIPAL
            case 0x07:
                inner, kind = self.value(depth + 1)
                return Ok(inner), _Type("response", (kind, None))
            case 0x08:
                inner, kind = self.value(depth + 1)
                return Err(inner), _Type("response", (None, kind))
            case 0x09:
                return NoneValue(), _Type("optional", (None,))
            case 0x0A:
                inner, kind = self.value(depth + 1)
                return Some(inner), _Type("optional", (kind,))
            case 0x0B:
                return self._list(depth)
            case 0x0C:
                return self._tuple(depth)
            case 0x0D:
                text = self._sequence().decode("latin-1")
                if not _ASCII.fullmatch(text):
                    raise ClarityError(
                        "a character in string-ascii is neither printable ASCII nor white space"
                    )
                return StringAscii(text), _STRING_ASCII
            case 0x0E:
                try:
                    return StringUtf8(self._sequence().decode()), _STRING_UTF8
                except UnicodeDecodeError as error:
                    raise ClarityError(f"string-utf8 is not UTF-8: {error.reason}") from error
            case _:
                raise ClarityError(f"unknown type prefix 0x{prefix:02x}")

    def _list(self, depth: int) -> tuple[List, _Type]:
        items: list[Value] = []
        common: _Type | None = None
        for _ in range(self._count(smallest=1)):
            item, kind = self.value(depth + 1)
            items.append(item)
            common = _common(common, kind)
        return List(tuple(items)), _Type("list", (common,))

    def _tuple(self, depth: int) -> tuple[Tuple, _Type]:
        entries: dict[str, Value] = {}
        kinds: dict[str, _Type] = {}
        for _ in range(self._count(smallest=3)):
            name = self._name(_CLARITY_NAME, "tuple name")
            if name in entries:
                raise ClarityError(f"tuple name {name!r} occurs twice")
            entries[name], kinds[name] = self.value(depth + 1)
        if not entries:
            raise ClarityError("a tuple has at least one entry")
        names = tuple(sorted(kinds))
        return Tuple.of(entries), _Type("tuple", tuple(kinds[name] for name in names), names)

    def _take(self, size: int) -> bytes:
        if size > self.left:
            raise ClarityError(f"{size} bytes expected, {self.left} left")
        start, self._position = self._position, self._position + size
        return self._data[start : self._position]

    def _byte(self) -> int:
        return self._take(1)[0]

    def _count(self, *, smallest: int) -> int:
        """Read the number of entries that follow, each of at least ``smallest`` bytes."""
        count = int.from_bytes(self._take(4), "big")
        if count * smallest > self.left:
            raise ClarityError(f"{count} entries do not fit into the {self.left} bytes left")
        return count

    def _sequence(self) -> bytes:
        size = int.from_bytes(self._take(4), "big")
        if size > MAX_SEQUENCE_BYTES:
            raise ClarityError(f"a sequence of {size} bytes is longer than {MAX_SEQUENCE_BYTES}")
        return self._take(size)

    def _version(self) -> int:
        version = self._byte()
        if version >= 32:
            raise ClarityError(f"principal version {version} is not below 32")
        return version

    def _name(self, pattern: re.Pattern[str], what: str) -> str:
        name = self._take(self._byte()).decode("latin-1")
        _check_name(name, pattern, what)
        return name


def _check_name(name: str, pattern: re.Pattern[str], what: str) -> None:
    if len(name) > MAX_NAME_CHARACTERS or not pattern.fullmatch(name):
        raise ClarityError(f"{name[:MAX_NAME_CHARACTERS]!r} is not a {what}")


def _write(value: Value, out: bytearray, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ClarityError(f"values are nested deeper than {MAX_DEPTH}")
    match value:
        case Int(number):
            if not -_INT_END <= number < _INT_END:
                raise ClarityError(f"{number} does not fit into int (128 bits, signed)")
            out += b"\x00" + number.to_bytes(16, "big", signed=True)
        case UInt(number):
            if not 0 <= number < _UINT_END:
                raise ClarityError(f"{number} does not fit into uint (128 bits, unsigned)")
            out += b"\x01" + number.to_bytes(16, "big")
        case Buffer(data):
            _write_sequence(0x02, data, out)
        case Bool(flag):
            out.append(0x03 if flag else 0x04)
        case PrincipalValue(principal):
            _write_principal(principal, out)
        case Ok(inner):
            out.append(0x07)
            _write(inner, out, depth + 1)
        case Err(inner):
            out.append(0x08)
            _write(inner, out, depth + 1)
        case NoneValue():
            out.append(0x09)
        case Some(inner):
            out.append(0x0A)
            _write(inner, out, depth + 1)
        case List(items):
            out += b"\x0b" + len(items).to_bytes(4, "big")
            for item in items:
                _write(item, out, depth + 1)
        case Tuple(entries):
            _write_tuple(entries, out, depth)
        case StringAscii(text):
            if not _ASCII.fullmatch(text):
                raise ClarityError("string-ascii holds printable ASCII and white space only")
            _write_sequence(0x0D, text.encode("ascii"), out)
        case _:
            try:
                _write_sequence(0x0E, value.value.encode(), out)
            except UnicodeEncodeError as error:
                raise ClarityError(f"string-utf8 cannot be written: {error.reason}") from error


def _write_sequence(prefix: int, data: bytes, out: bytearray) -> None:
    if len(data) > MAX_SEQUENCE_BYTES:
        raise ClarityError(f"a sequence of {len(data)} bytes is longer than {MAX_SEQUENCE_BYTES}")
    out.append(prefix)
    out += len(data).to_bytes(4, "big") + data


def _write_principal(principal: Principal, out: bytearray) -> None:
    if not 0 <= principal.version < 32 or len(principal.hash160) != 20:
        raise ClarityError("a principal has a version below 32 and 20 hash bytes")
    out.append(0x05 if principal.name is None else 0x06)
    out.append(principal.version)
    out += principal.hash160
    if principal.name is not None:
        _check_name(principal.name, _CONTRACT_NAME, "contract name")
        out.append(len(principal.name))
        out += principal.name.encode("ascii")


def _write_tuple(entries: tuple[tuple[str, Value], ...], out: bytearray, depth: int) -> None:
    if not entries or len(dict(entries)) != len(entries):
        raise ClarityError("a tuple has at least one entry and no name twice")
    out += b"\x0c" + len(entries).to_bytes(4, "big")
    for name, inner in sorted(entries, key=lambda entry: entry[0]):
        _check_name(name, _CLARITY_NAME, "tuple name")
        out.append(len(name))
        out += name.encode("ascii")
        _write(inner, out, depth + 1)
