"""The checkout: what a payer sees of an intent. Nothing private of the merchant, and no metadata."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from watcher.domain.checkout import CheckoutState
from watcher.domain.model import Flag, Status
from watcher.schemas.base import Amount, Depth, Document, Hex, Request, Time
from watcher.schemas.intent_facts import AsOf, Fiat, Pay
from watcher.schemas.payment_intents import WaitIn


class CheckoutMerchant(Document):
    """Who is paid."""

    name: str
    logo_url: str | None
    brand_color: str | None
    support_url: str | None


class CheckoutDepth(Document):
    """Confirmations that the payment needs, and has."""

    required: Depth
    reached: Depth | None
    """Null while the amount is not fully paid."""


class CheckoutTransfer(Document):
    """A transfer that counts for the payment."""

    tx_id: Hex
    status: Literal["canonical", "orphaned"]
    amount: Amount
    block_height: int
    block_hash: Hex
    block_time: Time
    confirmations: Depth | None
    explorer_url: str | None


class Alternative(Document):
    """The price in another asset."""

    asset: str
    asset_identifier: str
    amount: Amount
    decimals: int


class CheckoutLink(Document):
    """The payment link that a checkout was started from."""

    url: str
    can_restart: bool
    """It ended and nothing was paid: it can be started anew in place, at the link's present price."""
    continued_url: str | None
    """The checkout that took its place: another asset was chosen, or it was started anew."""


class Checkout(Document):
    """What the page of a payment shows."""

    object: Literal["checkout"]
    payment_intent: str
    state: CheckoutState
    status: Status
    flags: list[Flag]
    in_flight: bool
    merchant: CheckoutMerchant
    description: str | None
    amount: Amount
    fiat: Fiat | None
    """What the amount was counted from; for the eye."""
    asset: str
    asset_identifier: str
    decimals: int
    """Digits after the point; amounts are in base units."""
    amount_received: Amount
    amount_missing: Amount
    amount_over: Amount
    amount_refunded: Amount
    recipient: str
    payer: str | None
    """Only payments from this address count; null for any."""
    reference: str
    network: str
    livemode: bool
    confirmations: CheckoutDepth
    created_at: Time
    expires_at: Time
    deadline: Time
    succeeded_at: Time | None
    as_of: AsOf
    seconds_left: int
    """Until `expires_at`, by the chain's clock."""
    chain_stalled: bool
    """The chain has had no block for long; its clock stands still."""
    transfers: list[CheckoutTransfer]
    attempts_total: int
    """Transactions that tried to pay and failed."""
    needs_memo: bool
    """The payment is recognised by its memo."""
    pay: Pay | None
    """Null when it is not, or no longer, to be paid."""
    success_url: str | None
    """Only after the success, with `payment_intent` and `status` appended."""
    cancel_url: str | None
    """The way back without a payment; null while one is on its way, and after it."""
    alternatives: list[Alternative]
    """Other assets that the payer may choose instead, as long as nothing was paid or seen."""
    payment_link: CheckoutLink | None
    """Where it was started."""
    version: str
    """Differs when something else does."""


class WalletCall(Document):
    """What a payer's wallet is asked to do: a request of SIP-030."""

    object: Literal["wallet_call"]
    method: Literal["stx_transferStx", "stx_callContract"]
    params: dict[str, Any]


#: A version that a payer has. Any text can be one: it is only compared.
Version = Annotated[str, Field(max_length=64)]


class WaitForCheckout(Request):
    """Long poll: delay the response until a checkout shows something else."""

    member: ClassVar[str] = "parameter"

    wait: WaitIn | None = None
    """Respond when the `version` changes, or after this time at the latest: `30s`, at most `60s`."""
    after: Version | None = None
    """With `wait`: the `version` that you have. The response comes at once if the checkout has another."""
