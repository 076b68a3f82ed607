"""An intent in each state that a checkout shows, made by the real ledger from a scripted chain."""

from sqlalchemy import update

from chain.testing import txs
from tests import harness
from tests.integration.watcher.indexer.refunds import back, pay
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, LedgerFixture
from watcher.schemas import ChangeMerchant
from watcher.services import merchants
from watcher.store import intents
from watcher.store.schema import intent as intent_table

#: What is bought, in most of them.
DESCRIPTION = "Two tins of Darjeeling First Flush, 100 g each"

#: States that last an hour or two by the chain's clock, and those that end while the others are made.
LONG, SHORT = "20h", "60s"


def dress(fixture: LedgerFixture, **brand: object) -> None:
    """Give the merchant a name, a color and help, as payers see them."""
    shown = {
        "display_name": "Tea & Leaves",
        "brand_color": "#1f6f54",
        "support_url": "mailto:help@tea.example",
    }
    with fixture.database.begin() as connection:
        request = ChangeMerchant.of(shown | brand)
        merchants.change(connection, fixture.settings, fixture.merchant, request, now=fixture.clock())


def make_states(fixture: LedgerFixture) -> dict[str, str]:
    """Return the ids of intents by what their checkout is to show; the chain has moved for hours."""
    made: dict[str, str] = {}

    def new(name: str, **fields: object) -> str:
        given = {
            "expires_in": LONG,
            "description": DESCRIPTION,
            "success_url": "https://shop.example/thanks",
            "cancel_url": "https://shop.example/cart",
        }
        made[name] = fixture.create(**(given | fields))
        return made[name]

    def send(intent: str, amount: int = 50_000) -> txs.Tx:
        return txs.sbtc_transfer(PAYER, SHOP, amount, fixture.memo(intent))

    fixture.mine(burn=True)
    # What ends first.
    short = {name: new(name, expires_in=SHORT) for name in ("expired", "late", "expired-part", "late-more")}
    accepted = new("late-accepted", expires_in=SHORT, late_policy="accept")
    failed = new("failed", expires_in=SHORT)
    fixture.mine(send(short["expired-part"], 20_000), send(failed).failed("abort_by_post_condition"))
    fixture.pass_time(1000)
    fixture.mine(send(short["late"]), send(short["late-more"], 70_000), send(accepted))

    reorged = new("failed-reorged")
    at = fixture.tip.height
    fixture.mine(send(reorged), burn=True)
    fixture.fork(fixture.tip.height - at, [[send(reorged).failed()]], burn=True)

    # What was paid, and what was more than that.
    paid = new("paid", fiat="49.90 EUR")
    over, surplus, returned, part = new("overpaid"), new("surplus"), new("refunded"), new("partly-refunded")
    fixture.mine(send(paid), send(over, 60_000), send(surplus), pay(fixture, returned), pay(fixture, part))
    fixture.mine(send(surplus, 7), back(fixture, returned, 50_000), back(fixture, part, 20_000))
    new("marked")
    fixture.mark(made["marked"], "succeeded", "cash")

    canceled = new("canceled")
    fixture.cancel(canceled)
    late = new("canceled-late")
    fixture.cancel(late)
    fixture.mine(send(late, 70_000))

    # What goes on: nothing of it is deep enough.
    deep = new("confirming", level={"stacks": 1, "bitcoin": 6})
    new("confirming-stacks", level={"stacks": 40, "bitcoin": 0})
    fixture.settings = fixture.settings.model_copy(update={"verify_amount_over": {"sbtc": 100_000}})
    large = new("unverified", amount=200_000)
    fixture.mine(send(deep), send(made["confirming-stacks"]), send(large, 200_000), burn=True)
    taken, gone = new("confirming-reorged"), new("waiting-reorged", level="settled")
    fixture.mine(send(taken), send(gone))
    fixture.fork(1, [[]])
    fixture.mine(burn=True)

    new("waiting", fiat="49.90 EUR")
    new("dedicated", match="recipient", recipient=harness.principal("own"))
    new("payer", payer=PAYER, asset="stx", amount=25_000_000)
    seen, both = new("seen"), new("underpaid-seen")
    part = new("underpaid", fiat="49.90 EUR")
    tried = new("attempted")
    fixture.mine(send(part, 20_000), send(both, 20_000), send(tried).failed())
    new("closing", expires_in=SHORT)
    fixture.pass_time(120)
    new("urgent", expires_in="200s")
    fixture.mine()
    with fixture.database.begin() as connection:
        connection.execute(
            update(intent_table).where(intent_table.c.id.in_([seen, both])).values(in_flight=True)
        )
    return made


def paths(fixture: LedgerFixture, made: dict[str, str]) -> dict[str, str]:
    """Return the path of each one's checkout."""
    with fixture.database.read() as connection:
        found = intents.load_intents(connection, list(made.values()))
    return {name: f"/pay/{found[key].checkout_token}" for name, key in made.items()}
