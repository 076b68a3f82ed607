"""A payment link of the fixture's merchant, and a payer who uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chain.testing import txs
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.errors import Refused
from watcher.schemas import ChangePaymentLink, LinkDays, NewPaymentLink, StartPayment
from watcher.schemas.checkout import Checkout
from watcher.services import checkout, passwords
from watcher.services.link_payments import LinkPaymentService

VISIT = "v" * 22


class Links:
    """A link of the fixture's merchant, and a payer."""

    def __init__(self, fixture: LedgerFixture, **fields: Any) -> None:
        self.fixture = fixture
        password = fields.get("password")
        with fixture.services(fixture.merchant) as services:
            self.made = services.create_link(
                NewPaymentLink.of({"level": "included"} | fields),
                password_hash=None if password is None else passwords.hash_password(password),
            )
        self.id = self.made["id"]
        self.code = self.made["url"].removeprefix("/l/")

    @contextmanager
    def payer(self) -> Iterator[LinkPaymentService]:
        self.fixture.clock.now += 0.002  # ids of two milliseconds sort by time
        with self.fixture.database.begin() as connection:
            yield LinkPaymentService(
                connection,
                self.fixture.settings,
                actor="payer",
                now=self.fixture.clock(),
                settler_of=lambda _: self.fixture.settler,
            )

    def start(self, visit: str | None = VISIT, *, known: str | None = None, **fields: Any) -> str:
        """Start a payment and return the token of its checkout."""
        with self.payer() as payer:
            return payer.start(self.code, StartPayment.of({"visit": visit} | fields), known=known)

    def refused(self, visit: str | None = None, **fields: Any) -> str:
        """Return the code of the refusal to start."""
        with pytest.raises(Refused) as refusal:
            self.start(visit, **fields)
        return refusal.value.code

    def switch(self, token: str, asset: str) -> str:
        with self.payer() as payer:
            return payer.switch_checkout(token, asset)

    def restart(self, token: str) -> str:
        with self.payer() as payer:
            return payer.restart_checkout(token)

    def change(self, **fields: Any) -> None:
        with self.fixture.services(self.fixture.merchant) as services:
            services.change_link(self.id, ChangePaymentLink.of(fields))

    def checkout(self, token: str) -> dict[str, Any]:
        with self.fixture.database.read() as connection:
            found, _ = checkout.document(
                connection, token, settings=self.fixture.settings, now=self.fixture.clock()
            )
        Checkout.model_validate(found)
        return found

    def intent(self, token: str) -> str:
        return str(self.checkout(token)["payment_intent"])

    def pay(self, token: str, amount: int | None = None) -> None:
        shown = self.checkout(token)
        memo = str(shown["reference"]).encode()
        money = int(shown["amount"]) if amount is None else amount
        if shown["asset"] == "stx":
            self.fixture.mine(txs.stx_transfer(PAYER, SHOP, money, memo))
        else:
            self.fixture.mine(txs.sbtc_transfer(PAYER, SHOP, money, memo))

    def document(self) -> dict[str, Any]:
        with self.fixture.services(self.fixture.merchant) as services:
            return services.link(self.id)

    def statistics(self, days: int = 1) -> dict[str, Any]:
        with self.fixture.services(self.fixture.merchant) as services:
            found = services.link_statistics(self.id, LinkDays(days=days))
        with self.fixture.database.read() as connection:
            harness.check_day_counts(connection)
        assert found["started"] == sum(
            found[name] for name in ("open", "paid", "expired", "failed", "canceled")
        )
        return found

    def expire(self) -> None:
        """Let all that is open expire."""
        self.fixture.pass_time(3600 + 600 + 60)
