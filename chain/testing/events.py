"""Events of scripted transactions: one :class:`Event` per event of the API, made by the functions below."""

from dataclasses import dataclass

from chain.clarity import Value, encode

FT = "ft_asset"
STX = "stx_asset"
NFT = "nft_asset"
LOG = "contract_log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of a transaction; its rank is its index in ``Tx.events``."""

    #: ``ft_asset``, ``stx_asset``, ``nft_asset`` or ``contract_log``: the API's words.
    kind: str
    #: ``transfer``, ``mint`` or ``burn``; "" for a print.
    action: str = ""
    asset: str = ""
    sender: str | None = None
    recipient: str | None = None
    amount: int = 0
    #: STX transfers only: the bytes as on the chain.
    memo: bytes | None = None
    contract_id: str = ""
    #: Consensus bytes: a print's value, an NFT's id.
    value: bytes = b""

    @property
    def principals(self) -> tuple[str, ...]:
        """The principals in the event."""
        return tuple(p for p in (self.sender, self.recipient, self.contract_id) if p)


def contract_of(asset: str) -> str:
    """Return the contract of an asset identifier: ``SP….token::name`` -> ``SP….token``."""
    contract, separator, _ = asset.partition("::")
    if not separator or "." not in contract:
        raise ValueError(f"{asset!r} is no asset identifier: give <principal>.<contract>::<name>")
    return contract


def ft_transfer(asset: str, sender: str, recipient: str, amount: int) -> Event:
    """Make a transfer of a fungible token."""
    return Event(kind=FT, action="transfer", asset=asset, sender=sender, recipient=recipient, amount=amount)


def ft_mint(asset: str, recipient: str, amount: int) -> Event:
    """Make a mint of a fungible token."""
    return Event(kind=FT, action="mint", asset=asset, recipient=recipient, amount=amount)


def ft_burn(asset: str, sender: str, amount: int) -> Event:
    """Make a burn of a fungible token."""
    return Event(kind=FT, action="burn", asset=asset, sender=sender, amount=amount)


def stx_transfer(sender: str, recipient: str, amount: int, memo: bytes | None = None) -> Event:
    """Make an STX transfer; ``memo`` None is an ``stx-transfer?`` without memo."""
    return Event(kind=STX, action="transfer", sender=sender, recipient=recipient, amount=amount, memo=memo)


def stx_mint(recipient: str, amount: int) -> Event:
    """Make an STX mint."""
    return Event(kind=STX, action="mint", recipient=recipient, amount=amount)


def stx_burn(sender: str, amount: int) -> Event:
    """Make an STX burn."""
    return Event(kind=STX, action="burn", sender=sender, amount=amount)


def nft_transfer(asset: str, sender: str, recipient: str, value: Value | bytes) -> Event:
    """A transfer of a non-fungible token; ``value`` is its id."""
    return Event(
        kind=NFT, action="transfer", asset=asset, sender=sender, recipient=recipient, value=to_bytes(value)
    )


def contract_print(contract_id: str, value: Value | bytes) -> Event:
    """Make a contract's print of ``value``; bytes are taken as consensus bytes, unchecked."""
    return Event(kind=LOG, contract_id=contract_id, value=to_bytes(value))


def to_bytes(value: Value | bytes) -> bytes:
    """Return the consensus bytes of ``value``; bytes are returned unchanged."""
    return value if isinstance(value, bytes) else encode(value)
