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
