"""What a scripted transaction emits. One :class:`Event` per thing that the API lists, made by the functions below."""

from dataclasses import dataclass

from chain.clarity import Value, encode

FT = "ft_asset"
STX = "stx_asset"
NFT = "nft_asset"
LOG = "contract_log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of a transaction; its rank is its place in ``Tx.events``."""

    #: ``ft_asset``, ``stx_asset``, ``nft_asset`` or ``contract_log``: the API's words.
    kind: str
    #: ``transfer``, ``mint`` or ``burn``; "" for a print.
    action: str = ""
    asset: str = ""
    sender: str | None = None
    recipient: str | None = None
    amount: int = 0
    #: STX transfers only: the bytes as the chain has them.
    memo: bytes | None = None
    contract_id: str = ""
    #: Consensus bytes: a print's value, an NFT's id.
    value: bytes = b""

    @property
    def principals(self) -> tuple[str, ...]:
        """The principals that the event names."""
        return tuple(p for p in (self.sender, self.recipient, self.contract_id) if p)


def contract_of(asset: str) -> str:
    """The contract of an asset identifier: ``SP….token::name`` -> ``SP….token``."""
    contract, separator, _ = asset.partition("::")
    if not separator or "." not in contract:
        raise ValueError(f"{asset!r} is no asset identifier: give <principal>.<contract>::<name>")
    return contract


def ft_transfer(asset: str, sender: str, recipient: str, amount: int) -> Event:
    """A fungible token moved."""
    return Event(kind=FT, action="transfer", asset=asset, sender=sender, recipient=recipient, amount=amount)


def ft_mint(asset: str, recipient: str, amount: int) -> Event:
    """A fungible token was made."""
    return Event(kind=FT, action="mint", asset=asset, recipient=recipient, amount=amount)


def ft_burn(asset: str, sender: str, amount: int) -> Event:
    """A fungible token was destroyed."""
    return Event(kind=FT, action="burn", asset=asset, sender=sender, amount=amount)


def stx_transfer(sender: str, recipient: str, amount: int, memo: bytes | None = None) -> Event:
    """STX moved; ``memo`` None is a ``stx-transfer?`` without memo."""
    return Event(kind=STX, action="transfer", sender=sender, recipient=recipient, amount=amount, memo=memo)


def stx_mint(recipient: str, amount: int) -> Event:
    """STX was made."""
    return Event(kind=STX, action="mint", recipient=recipient, amount=amount)


def stx_burn(sender: str, amount: int) -> Event:
    """STX was destroyed."""
    return Event(kind=STX, action="burn", sender=sender, amount=amount)


def nft_transfer(asset: str, sender: str, recipient: str, value: Value | bytes) -> Event:
    """A non-fungible token moved; ``value`` is its id."""
    return Event(
        kind=NFT, action="transfer", asset=asset, sender=sender, recipient=recipient, value=to_bytes(value)
    )


def contract_print(contract_id: str, value: Value | bytes) -> Event:
    """A contract printed ``value``; bytes are taken as consensus bytes that nobody checks."""
    return Event(kind=LOG, contract_id=contract_id, value=to_bytes(value))


def to_bytes(value: Value | bytes) -> bytes:
    """Consensus bytes of ``value``; bytes pass as they are."""
    return value if isinstance(value, bytes) else encode(value)
