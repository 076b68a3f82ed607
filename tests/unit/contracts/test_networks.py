"""Networks and assets: the fixed ids, and which text is accepted on which network."""

import pytest

from chain.address import AddressError
from chain.testing import txs
from contracts import networks
from contracts.networks import NETWORKS, AssetSpec, NetworkName

MAINNET, TESTNET, DEVNET = (NETWORKS[NetworkName(name)] for name in ("mainnet", "testnet", "devnet"))
SP = "SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7"
ST = "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM"


def test_every_name_has_its_network():
    assert {name: network.name for name, network in NETWORKS.items()} == {name: name for name in NetworkName}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.name)
def test_the_built_in_ids_are_valid_on_their_network(network):
    assert network.parse_contract(network.sbtc_contract) == network.sbtc_contract
    assert network.parse_contract(network.memo_router) == network.memo_router
    for sender in network.ignored_senders:
        assert network.parse_principal(sender).name == "pox-5"
    for spec in networks.default_assets(network, network.sbtc_contract):
        assert network.parse_asset(spec.identifier) == spec.identifier


def test_chain_ids_and_urls_are_the_networks_own():
    assert [n.chain_id for n in (MAINNET, TESTNET, DEVNET)] == [1, 0x80000000, 0x80000000]
    assert MAINNET.api_url == "https://api.mainnet.hiro.so"
    assert DEVNET.sbtc_contract == MAINNET.sbtc_contract
    assert MAINNET.memo_router == txs.SEND_MANY_MEMO


def test_addresses_of_the_other_network_are_refused():
    assert str(MAINNET.parse_principal(SP)) == SP
    for network, text in ((MAINNET, ST), (TESTNET, SP), (DEVNET, SP)):
        with pytest.raises(AddressError, match="belongs to"):
            network.parse_principal(text)


def test_a_contract_has_a_name():
    assert TESTNET.parse_contract(f"{ST}.a") == f"{ST}.a"
    with pytest.raises(AddressError, match="expected a contract id"):
        TESTNET.parse_contract(ST)
    with pytest.raises(AddressError, match="belongs to"):
        TESTNET.parse_contract(f"{SP}.a")
    assert DEVNET.parse_contract(f"{SP}.a") == f"{SP}.a"


@pytest.mark.parametrize(
    "text", ["", "stx", SP, f"{SP}.a", f"{SP}.a::", f"{SP}.a::1", f"{SP}::a", f"{SP}.a::b::c"]
)
def test_what_is_no_asset_is_refused(text):
    with pytest.raises(AddressError):
        MAINNET.parse_asset(text)


def test_an_asset_knows_its_contract():
    sbtc, stx, usdcx = networks.default_assets(MAINNET, MAINNET.sbtc_contract)
    assert (usdcx.name, usdcx.contract, usdcx.decimals) == (
        "usdcx",
        "SP120SBRBQJ00MCWS7TM5R8WJNTTKD5K0HFRC2CNE.usdcx",
        6,
    )
    assert (sbtc.name, sbtc.contract, sbtc.decimals) == ("sbtc", MAINNET.sbtc_contract, 8)
    assert (stx.name, stx.contract, stx.decimals) == ("stx", None, 6)
    assert AssetSpec(name="x", identifier=f"{SP}.a::b", decimals=2).contract == f"{SP}.a"


def test_usdcx_is_known_where_it_is_deployed():
    """Development networks have no such contract."""
    names = {n.name: [a.name for a in networks.default_assets(n, n.sbtc_contract)] for n in NETWORKS.values()}
    assert names == {
        "mainnet": ["sbtc", "stx", "usdcx"],
        "testnet": ["sbtc", "stx", "usdcx"],
        "devnet": ["sbtc", "stx"],
    }


def test_sbtcs_neighbours_stand_under_its_principal():
    contract = MAINNET.sbtc_contract
    assert networks.sbtc_asset(contract) == f"{contract}::sbtc-token"
    assert networks.sbtc_registry(contract) == "SM3VDXK3WZZSA84XXFKAFAF15NNZX32CTSG82JFQ4.sbtc-registry"
