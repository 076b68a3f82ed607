"""What the documents of intents say of the server that makes them (pure)."""

from dataclasses import dataclass

from contracts.networks import NetworkName


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """The network, the payment contract, where the pages for payers are, and where transactions are shown."""

    network: str
    #: Contract id, None without one.
    payment_contract: str | None = None
    #: Base of the links that payers get, without a slash at the end; without it the links are paths.
    public_url: str | None = None
    #: Base of an explorer of the chain, without a slash at the end; None for none.
    explorer_url: str | None = None

    @property
    def livemode(self) -> bool:
        """Whether the money is real."""
        return self.network == NetworkName.MAINNET

    def checkout_url(self, token: str | None) -> str | None:
        """Return the link to the checkout with this token, None without a token."""
        return None if token is None else f"{self.public_url or ''}/pay/{token}"

    def link_url(self, code: str) -> str:
        """Return the address of the payment link with this code."""
        return f"{self.public_url or ''}/l/{code}"

    def transaction_url(self, tx_id: str) -> str | None:
        """Return the explorer's page of a transaction, None without an explorer."""
        if self.explorer_url is None:
            return None
        return f"{self.explorer_url}/txid/{tx_id}?chain={'mainnet' if self.livemode else 'testnet'}"
