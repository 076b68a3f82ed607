"""Check a source before it is used: its version and the network of its node."""

from typing import Final

from chain.api.client import ApiStatus
from chain.errors import SourceError, UnsupportedVersion, WrongNetwork
from chain.source import ChainSource

#: The node's ``network_id`` of each network name in the settings; devnets use the testnet's.
NETWORK_IDS: Final = {"mainnet": 1, "testnet": 0x80000000, "devnet": 0x80000000}


async def check_source(api: ChainSource, status: ApiStatus, network: str) -> str | None:
    """Return remarks on what could not be verified, None if there are none.

    Raises ``UnsupportedVersion`` or ``WrongNetwork``.
    """
    if status.version is not None and status.version < api.minimum_version:
        minimum = ".".join(map(str, api.minimum_version[:2]))
        raise UnsupportedVersion(api.url, version=status.server_version, minimum=minimum)
    try:
        found = await api.network_id()
    except SourceError:
        # An API without a node of its own answers 500 here.
        found = None
    expected = NETWORK_IDS.get(network)
    remarks = ["version not recognized"] if status.version is None else []
    if found is None or expected is None:
        remarks.append("network not verified")
    elif found != expected:
        name = next((name for name, known in NETWORK_IDS.items() if known == found), f"network id {found}")
        raise WrongNetwork(api.url, expected=network, found=name)
    return ", ".join(remarks) or None
