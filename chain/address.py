"""Stacks addresses and principals: the c32check codec (pure).

An address is ``S``, a version character, then c32(hash160 || checksum), the checksum being the first four
bytes of sha256(sha256(version byte || hash160)). c32 is base 32 over Crockford's alphabet, each leading zero
byte written as one ``0``. Decoding is strict: accepting lower case, or ``O`` for ``0``, would give one
principal several spellings, and this program compares principals as text.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

#: Version bytes in use: mainnet single-sig (SP) and multi-sig (SM), testnet single-sig (ST) and multi-sig
#: (SN).
MAINNET_VERSIONS = frozenset({22, 20})
TESTNET_VERSIONS = frozenset({26, 21})

#: Longest contract name that can be deployed, in characters; older rules let names up to 128 bytes parse.
MAX_CONTRACT_NAME_CHARACTERS = 40

_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_CONTRACT_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
_HASH_BYTES = 20
_CHECKSUM_BYTES = 4
#: Characters: ``S``, a version character and the 39 of the largest 24-byte number.
_MAX_ADDRESS_CHARACTERS = 41


class AddressError(ValueError):
    """The text is not a usable principal; the message says why."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A standard principal, or a contract if ``name`` is set. ``str()`` gives the canonical text."""

    #: 0 … 31; only 20, 21, 22 and 26 are in use, but the chain's encoding allows all.
    version: int
    hash160: bytes
    name: str | None = None

    def __str__(self) -> str:
        address = c32check_encode(self.version, self.hash160)
        return address if self.name is None else f"{address}.{self.name}"

    @property
    def is_mainnet(self) -> bool:
        """Whether the version byte is one of mainnet's."""
        return self.version in MAINNET_VERSIONS


def parse_principal(text: str, *, mainnet: bool | None = None) -> Principal:
    """Parse ``S…`` or ``S….contract-name``, canonical spelling only.

    If ``mainnet`` is given, a principal of the other network is refused. Raises AddressError.
    """
    address, dot, name = text.partition(".")
    version, hash160 = c32check_decode(address)
    if version not in MAINNET_VERSIONS | TESTNET_VERSIONS:
        raise AddressError(f"address version S{ALPHABET[version]} is not in use: expected SP, SM, ST or SN")
    if dot and not is_contract_name(name):
        raise AddressError(
            f"contract name {name[:60]!r} is not valid: a letter, then letters, digits, - or _, "
            f"at most {MAX_CONTRACT_NAME_CHARACTERS} characters"
        )
    principal = Principal(version, hash160, name if dot else None)
    if mainnet is not None and principal.is_mainnet is not mainnet:
        theirs, ours = (
            ("mainnet", "testnet (ST… or SN…)") if mainnet is False else ("testnet", "mainnet (SP… or SM…)")
        )
        raise AddressError(f"{text} belongs to {theirs}: expected a principal of {ours}")
    return principal


def is_contract_name(name: str) -> bool:
    """Whether a contract with this name can be deployed."""
    return len(name) <= MAX_CONTRACT_NAME_CHARACTERS and _CONTRACT_NAME.fullmatch(name) is not None


def c32check_encode(version: int, hash160: bytes) -> str:
    """Encode a version byte (0 … 31) and 20 hash bytes as an address. Raises AddressError for other sizes."""
    if not 0 <= version < len(ALPHABET):
        raise AddressError(f"address version {version} is not below {len(ALPHABET)}")
    if len(hash160) != _HASH_BYTES:
        raise AddressError(f"hash160 has {len(hash160)} bytes: expected {_HASH_BYTES}")
    return "S" + ALPHABET[version] + c32_encode(hash160 + _checksum(version, hash160))


@lru_cache(maxsize=1024)  # a merchant's address is decoded again for every payment and event
def c32check_decode(address: str) -> tuple[int, bytes]:
    """Decode an address of any version into version byte and hash160. Raises AddressError."""
    if not address:
        raise AddressError("the address is empty: expected S followed by c32 characters")
    if len(address) > _MAX_ADDRESS_CHARACTERS:
        raise AddressError(
            f"the address has {len(address)} characters: expected at most {_MAX_ADDRESS_CHARACTERS}"
        )
    if address[0] != "S" or len(address) == 1:
        raise AddressError(
            f"{address!r} is not a Stacks address: it starts with S and a version, as in SP… or ST…"
        )
    version = c32_decode(address[1])[-1]
    data = c32_decode(address[2:])
    if len(data) != _HASH_BYTES + _CHECKSUM_BYTES:
        raise AddressError(f"{address} is too short or too long: copy it again")
    hash160, checksum = data[:_HASH_BYTES], data[_HASH_BYTES:]
    if checksum != _checksum(version, hash160):
        raise AddressError(f"{address} has a bad checksum: a character is wrong or missing, copy it again")
    return version, hash160


def c32_encode(data: bytes) -> str:
    """Encode bytes as one big number in base 32; each leading zero byte becomes one ``0``."""
    zeros = len(data) - len(data.lstrip(b"\0"))
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    while number:
        digits.append(ALPHABET[number & 31])
        number >>= 5
    return "0" * zeros + "".join(reversed(digits))


def c32_decode(text: str) -> bytes:
    """Decode c32 text. Raises AddressError for a character outside the alphabet."""
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            hint = " (upper case only)" if character.upper() in _VALUES else ""
            raise AddressError(f"character {character!r} is not in the c32 alphabet {ALPHABET}{hint}")
        number = number << 5 | value
    zeros = len(text) - len(text.lstrip("0"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _checksum(version: int, hash160: bytes) -> bytes:
    first = hashlib.sha256(bytes((version,)) + hash160).digest()
    return hashlib.sha256(first).digest()[:_CHECKSUM_BYTES]
