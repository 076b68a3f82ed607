"""The Stacks networks: address kinds, public API, contract ids and assets (pure).

Ids as of 2026-11: mainnet's sBTC is a constant of the node software. Several sBTC contracts are in use on
testnet, so the one here is a default that a setting replaces. Development networks have sBTC at its mainnet
principal.
"""

from dataclasses import dataclass
from enum import StrEnum

from chain.address import AddressError, Principal, parse_principal
from chain.clarity import is_clarity_name
from chain.model import STX

#: Name of sBTC's spendable token inside its contract; ``sbtc-token-locked`` is used for withdrawals.
SBTC_ASSET_NAME = "sbtc-token"

#: Name of the contract that prints the peg's events; deployed by the same principal as the token.
SBTC_REGISTRY_NAME = "sbtc-registry"


class NetworkName(StrEnum):
    """The values of the setting ``network``."""

    MAINNET = "mainnet"
    TESTNET = "testnet"
    DEVNET = "devnet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The parameters of a network."""

    name: NetworkName
    #: Whether account addresses are ``SP…`` and ``SM…``; else they are ``ST…`` and ``SN…``.
    mainnet: bool
    #: Identifies the network in transactions and in a node's answers.
    chain_id: int
    api_url: str
    #: Contract id of the sBTC token, unless the settings name another.
    sbtc_contract: str
    #: Contract id of ``send-many-memo``, used by exchanges to send STX to many recipients at once.
    memo_router: str
    #: Principals whose sBTC transfers are no payments: the staking contract's rewards.
    ignored_senders: frozenset[str]
    #: Asset identifier of USDCx, a dollar token with 6 decimals; None where it is not deployed.
    usdcx: str | None = None
    #: Base of the pages on which everyone can look up a transaction; None where there are none.
    explorer_url: str | None = None

    def parse_principal(self, text: str) -> Principal:
        """Parse an address or contract that may pay or be paid on this network. Raises AddressError."""
        return parse_principal(text, mainnet=self.mainnet)

    def parse_contract(self, text: str) -> str:
        """Check a contract id and return it. Raises AddressError.

        On devnet any address kind is accepted, because contracts are deployed there under mainnet principals.
        """
        mainnet = None if self.name is NetworkName.DEVNET else self.mainnet
        if parse_principal(text, mainnet=mainnet).name is None:
            raise AddressError(f"{text} is an address: expected a contract id, address.contract-name")
        return text

    def parse_asset(self, text: str) -> str:
        """Check and return ``STX`` or an ``address.contract::asset``. Raises AddressError."""
        if text == STX:
            return text
        contract, colons, name = text.partition("::")
        self.parse_contract(contract)
        if not colons or not is_clarity_name(name):
            raise AddressError(f"{text} is not an asset: expected {STX} or address.contract-name::asset-name")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSpec:
    """An asset that intents can ask for."""

    #: Short name from the settings, e.g. ``sbtc``.
    name: str
    #: ``STX`` or ``address.contract::asset``; always compared whole.
    identifier: str
    #: Digits after the decimal point when an amount is displayed; amounts themselves are in base units.
    decimals: int

    @property
    def contract(self) -> str | None:
        """Contract id of the token, None for STX."""
        return asset_contract(self.identifier)


def asset_contract(identifier: str) -> str | None:
    """Return the contract id within an asset identifier, None for STX."""
    return None if identifier == STX else identifier.partition("::")[0]


def sbtc_asset(contract_id: str) -> str:
    """Return the identifier of the spendable sBTC token of a token contract."""
    return f"{contract_id}::{SBTC_ASSET_NAME}"


def sbtc_registry(contract_id: str) -> str:
    """Return the contract id of the registry that belongs to a token contract."""
    return f"{contract_id.partition('.')[0]}.{SBTC_REGISTRY_NAME}"


def default_assets(network: Network, sbtc_contract: str) -> tuple[AssetSpec, ...]:
    """Return the assets that are in use without any setting: sBTC (sats), STX (micro-STX) and USDCx."""
    usdcx = [] if network.usdcx is None else [AssetSpec(name="usdcx", identifier=network.usdcx, decimals=6)]
    return (
        AssetSpec(name="sbtc", identifier=sbtc_asset(sbtc_contract), decimals=8),
        AssetSpec(name="stx", identifier=STX, decimals=6),
        *usdcx,
    )


_MAINNET_SBTC = "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-token"
_MAINNET_ROUTER = "SP3FBR2AGK5H9QBDH3EEN6DF8EK8JY7RX8QJ5SVTE.send-many-memo"
_TESTNET_ROUTER = "ST3F1X4QGV2SM8XD96X45M6RTQXKA1PZJZZCQAB4B.send-many-memo"
_EXPLORER = "https://explorer.hiro.so"
_TESTNET_STAKING = frozenset({"ST000000000000000000002AMW42H.pox-5"})

NETWORKS = {
    NetworkName.MAINNET: Network(
        name=NetworkName.MAINNET,
        mainnet=True,
        chain_id=1,
        api_url="https://api.mainnet.hiro.so",
        sbtc_contract=_MAINNET_SBTC,
        memo_router=_MAINNET_ROUTER,
        ignored_senders=frozenset({"SP000000000000000000002Q6VF78.pox-5"}),
        usdcx="SP120SBRBQJ00MCWS7TM5R8WJNTTKD5K0HFRC2CNE.usdcx::usdcx-token",
        explorer_url=_EXPLORER,
    ),
    NetworkName.TESTNET: Network(
        name=NetworkName.TESTNET,
        mainnet=False,
        chain_id=0x80000000,
        api_url="https://api.testnet.hiro.so",
        sbtc_contract="SN3VMHXEN64ZZF71JQ5VESXDWTR301XTTXGF4J8F1.sbtc-token",
        memo_router=_TESTNET_ROUTER,
        ignored_senders=_TESTNET_STAKING,
        usdcx="ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.usdcx::usdcx-token",
        explorer_url=_EXPLORER,
    ),
    NetworkName.DEVNET: Network(
        name=NetworkName.DEVNET,
        mainnet=False,
        chain_id=0x80000000,
        api_url="http://localhost:3999",
        sbtc_contract=_MAINNET_SBTC,
        memo_router=_TESTNET_ROUTER,
        ignored_senders=_TESTNET_STAKING,
    ),
}
