"""Parse raw transactions as far as needed: sender, kind, an STX transfer, a call with its arguments (pure).

Format: the consensus serialization of stacks-core 4.0. What a later version adds below the sender (another
payload, another post-condition) is no error: the kind then names it.
"""

from dataclasses import dataclass

from chain.address import Principal
from chain.api.parse_fields import Malformed
from chain.clarity import ClarityError, decode_first
from chain.node.byte_reader import ByteReader

#: Longest memo of an STX transfer, in bytes; the chain pads it with zeros.
MEMO_BYTES = 34

#: Kinds by payload id, as the API names them.
_KINDS = {
    0: "token_transfer",
    1: "smart_contract",
    2: "contract_call",
    3: "poison_microblock",
    4: "coinbase",
    5: "coinbase",
    6: "smart_contract",
    7: "tenure_change",
    8: "coinbase",
}

#: Address versions (mainnet, testnet) of keys that sign alone, and of all others.
_SINGLE_SIGNER, _OTHER_SIGNERS = (22, 26), (20, 21)

_P2PKH, _P2WPKH = 0x00, 0x02
_KEY_BYTES, _SIGNATURE_BYTES, _HASH_BYTES = 33, 65, 20
#: More arguments than a function can have.
_MAX_ARGUMENTS = 2**12
_MAX_POST_CONDITIONS = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTransaction:
    """The parts of a signed transaction that matter."""

    sender: str
    #: ``token_transfer``, ``contract_call``, ``smart_contract``, ``coinbase``, ``tenure_change``,
    #: ``poison_microblock``, or what this version does not know, such as ``payload 9``.
    kind: str
    is_known: bool = True
    #: Recipient, amount and the 34 memo bytes of a ``token_transfer``.
    transfer: tuple[str, int, bytes] | None = None
    #: The contract that is called or deployed.
    contract_id: str | None = None
    function: str | None = None
    #: Number of a call's arguments, and their consensus bytes one after the other.
    arg_count: int = 0
    arg_bytes: bytes = b""

    def args(self) -> tuple[bytes, ...]:
        """Return the arguments' consensus bytes by position. Raises ``Malformed``."""
        found: list[bytes] = []
        position = 0
        for _ in range(self.arg_count):
            try:
                _, end = decode_first(self.arg_bytes, position)
            except ClarityError as error:
                raise Malformed(f"argument {len(found)} of a call is no Clarity value: {error}") from error
            found.append(self.arg_bytes[position:end])
            position = end
        if position != len(self.arg_bytes):
            raise Malformed(f"{len(self.arg_bytes) - position} bytes follow the arguments of a call")
        return tuple(found)


def parse_transaction(raw: bytes) -> RawTransaction:
    """Parse a serialized transaction. Raises ``Malformed``."""
    reader = _Reader(raw)
    is_mainnet = reader.number(1) < 0x80
    reader.take(4)  # chain id
    auth = reader.number(1)
    if auth not in (0x04, 0x05):
        raise Malformed(f"a raw transaction has authorization 0x{auth:02x}")
    version, hash160 = reader.signer(is_mainnet)
    if auth == 0x05:
        reader.signer(is_mainnet)  # the sponsor pays the fee and is no party
    sender = str(Principal(version, hash160))
    reader.take(2)  # anchor mode, post-condition mode
    for _ in range(reader.count(_MAX_POST_CONDITIONS)):
        if (unknown := reader.skip_post_condition()) is not None:
            # Its length is unknown, so the payload cannot be reached.
            return RawTransaction(sender=sender, kind=f"post-condition {unknown}", is_known=False)
    return _payload(reader, sender)


def _payload(reader: "_Reader", sender: str) -> RawTransaction:
    payload = reader.number(1)
    kind = _KINDS.get(payload)
    if kind is None:
        return RawTransaction(sender=sender, kind=f"payload {payload}", is_known=False)
    if kind == "token_transfer":
        transfer = reader.principal_value(), reader.number(8), reader.take(MEMO_BYTES)
        reader.end()
        return RawTransaction(sender=sender, kind=kind, transfer=transfer)
    if kind == "smart_contract":
        if payload == 6:
            reader.take(1)  # Clarity version
        return RawTransaction(sender=sender, kind=kind, contract_id=f"{sender}.{reader.name()}")
    if kind == "contract_call":
        contract_id, function = reader.contract(), reader.name()
        arg_count = reader.count(_MAX_ARGUMENTS)
        return RawTransaction(
            sender=sender,
            kind=kind,
            contract_id=contract_id,
            function=function,
            arg_count=arg_count,
            arg_bytes=reader.rest(),
        )
    return RawTransaction(sender=sender, kind=kind)


class _Reader(ByteReader):
    """Reads the parts of a transaction."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, "a raw transaction")

    def name(self) -> str:
        name = self.take(self.number(1))
        if not name.isascii() or not name.decode("ascii").isprintable():
            raise Malformed(f"a raw transaction holds the name {name[:20]!r}")
        return name.decode("ascii")

    def address(self) -> str:
        version = self.number(1)
        if version >= 32:
            raise Malformed(f"a raw transaction holds an address of version {version}")
        return str(Principal(version, self.take(_HASH_BYTES)))

    def contract(self) -> str:
        address = self.address()
        return f"{address}.{self.name()}"

    def principal_value(self) -> str:
        """Read a principal as Clarity serializes it."""
        prefix = self.number(1)
        if prefix not in (0x05, 0x06):
            raise Malformed(f"a raw transaction holds a principal of type 0x{prefix:02x}")
        return self.address() if prefix == 0x05 else self.contract()

    def signer(self, is_mainnet: bool) -> tuple[int, bytes]:
        """Read a spending condition; return the address version and hash of its signer."""
        mode = self.number(1)
        hash160 = self.take(_HASH_BYTES)
        self.take(16)  # nonce, fee
        if mode in (_P2PKH, _P2WPKH):
            self.take(1 + _SIGNATURE_BYTES)  # key encoding, signature
        elif mode in (0x01, 0x03, 0x05, 0x07):
            for _ in range(self.count(_MAX_POST_CONDITIONS)):
                field = self.number(1)
                if field > 0x03:
                    raise Malformed(f"a raw transaction has an authorization field 0x{field:02x}")
                self.take(_KEY_BYTES if field < 0x02 else _SIGNATURE_BYTES)
            self.take(2)  # signatures required
        else:
            raise Malformed(f"a raw transaction has hash mode 0x{mode:02x}")
        versions = _SINGLE_SIGNER if mode == _P2PKH else _OTHER_SIGNERS
        return versions[0 if is_mainnet else 1], hash160

    def skip_post_condition(self) -> int | None:
        """Skip a post-condition; return its type if it is not known."""
        kind = self.number(1)
        if kind > 4:
            return kind
        match self.number(1):
            case 0x01:  # the sender
                pass
            case 0x02:
                self.address()
            case 0x03:
                self.contract()
            case principal:
                raise Malformed(f"a post-condition names a principal of type 0x{principal:02x}")
        if kind in (1, 2):  # a token of one kind, or a single one
            self.contract()
            self.name()
        if kind == 2:
            try:
                _, self.position = decode_first(self.data, self.position)
            except ClarityError as error:
                raise Malformed(f"a post-condition names a token that is no value: {error}") from error
        self.take(1)  # condition code
        if kind in (0, 1, 3):
            self.take(8)  # amount
        return None
