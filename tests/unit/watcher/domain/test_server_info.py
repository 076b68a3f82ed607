"""What documents say of the server."""

import pytest

from watcher.domain.server_info import ServerInfo


@pytest.mark.parametrize(("network", "live"), [("mainnet", True), ("testnet", False), ("devnet", False)])
def test_only_mainnet_is_live(network: str, live: bool) -> None:
    """Money of other networks is worth nothing."""
    assert ServerInfo(network=network).livemode is live


def test_the_link_to_a_checkout_is_a_path_without_a_public_url() -> None:
    """A checkout's address begins with the public URL, if there is one; without a token there is none."""
    assert ServerInfo(network="mainnet").checkout_url("abc") == "/pay/abc"
    public = ServerInfo(network="mainnet", public_url="https://pay.example/shop")
    assert public.checkout_url("abc") == "https://pay.example/shop/pay/abc"
    assert public.checkout_url(None) is None


@pytest.mark.parametrize(
    ("network", "chain"), [("mainnet", "mainnet"), ("testnet", "testnet"), ("devnet", "testnet")]
)
def test_a_transaction_has_a_page_in_the_explorer(network: str, chain: str) -> None:
    """The link names the chain, as explorers show several; without an explorer there is none."""
    info = ServerInfo(network=network, explorer_url="https://scan.example")
    assert info.transaction_url("0xab") == f"https://scan.example/txid/0xab?chain={chain}"
    assert ServerInfo(network=network).transaction_url("0xab") is None
