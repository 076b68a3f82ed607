"""One step of the chain is one transaction: money finds its intent, or says why not; nothing is half done or done twice."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from chain.model import MAX_AMOUNT, Extend, Reorg
from chain.testing import principal, txs
from contracts.networks import NETWORKS, NetworkName
from notifier.schema import event
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, World
from watcher.errors import ConfigError
from watcher.indexer.ledger import BadStep, Ledger, OutOfStep
from watcher.indexer.settler import Settler
from watcher.store.chain_state import Halt, canonical_header, load_cursor
from watcher.store.schema import attempt, block, transfer

OWN = principal("own address")


def snapshot(world: World) -> list[object]:
    """Return everything that a step may change, comparable."""
    with world.database.read() as connection:
        rows = [
            sorted(map(repr, connection.execute(select(table)).all()))
            for table in (block, transfer, attempt, event)
        ]
        return [load_cursor(connection), *rows]


# Matching


def test_money_finds_its_intent_by_reference(world: World) -> None:
    intent = world.create()
    applied = world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    assert (applied.blocks, applied.transfers, applied.seen) == (1, 1, 1)
    shown = world.show(intent)
    assert (shown["status"], shown["amount_received"]) == ("succeeded", "50000")
    [money] = shown["transfers"]
    assert (money["sender"], money["status"], money["block_hash"]) == (PAYER, "canonical", world.tip.hash)


def test_money_finds_its_intent_by_the_contracts_terms(world: World) -> None:
    expires_at = int(world.clock()) + 600
    intent = world.create(salt="ab" * 16, expires_at=expires_at)
    terms = {"expires_at": expires_at, "salt": b"\xab" * 16}
    world.mine(txs.contract_payment(harness.PAYMENT_CONTRACT, PAYER, SHOP, 50_000, **terms))
    assert world.status(intent) == "succeeded"


def test_a_terms_hash_as_a_plain_memo_is_a_label_too(world: World) -> None:
    intent = world.create(asset="stx")
    world.mine(txs.stx_transfer(PAYER, SHOP, 50_000, bytes.fromhex(world.show(intent)["terms_hash"][2:])))
    assert world.status(intent) == "succeeded"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\t", "\ufeff", "\u200b", "\0\0"])
def test_money_finds_its_intent_whatever_a_shell_or_an_editor_left_after_the_reference(
    world: World, end: str
) -> None:
    """A memo made by ``echo REFERENCE`` pays, with a generated and with an own reference, and keeps its bytes."""
    made, own = world.create(), world.create(reference="order-7")
    memos = [world.memo(intent) + end.encode() for intent in (made, own)]
    world.mine(*(txs.sbtc_transfer(PAYER, SHOP, 50_000, memo) for memo in memos))
    assert (world.status(made), world.status(own)) == ("succeeded", "succeeded")
    assert sorted(row["memo"] for row in world.transfers()) == sorted(memos)


@pytest.mark.parametrize("written", ["{}-{}-{}", "{} {} {}", "{}\u2013{}\u2013{}"])
def test_a_generated_reference_is_found_in_groups(world: World, written: str) -> None:
    """People type twelve characters in three groups of four, in lower case, with O for 0."""
    intent = world.create()
    text = world.memo(intent).decode().lower().replace("0", "o").replace("1", "l")
    typed = written.format(text[:4], text[4:8], text[8:])
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, typed.encode()))
    assert world.status(intent) == "succeeded"


def test_stx_that_an_exchange_sends_to_many_pays(world: World) -> None:
    """Each print of the router labels the transfer just before it; another contract that prints alike labels none."""
    first, second = (world.create(asset="stx", amount=amount) for amount in (5, 7))
    sent = [(SHOP, 5, world.memo(first)), (STRANGER, 6, world.memo(second)), (SHOP, 7, world.memo(second))]
    world.mine(txs.stx_send_many(PAYER, sent, router=f"{principal('thief')}.send-many-memo"))
    assert world.unmatched() == [("no_intent", 5), ("no_intent", 7)]
    assert (world.status(first), world.status(second)) == ("pending", "pending")
    world.mine(txs.stx_send_many(PAYER, sent))
    assert (world.status(first), world.status(second)) == ("succeeded", "succeeded")
    assert world.show(second)["amount_received"] == "7"


def test_money_finds_its_intent_by_a_dedicated_recipient_whatever_the_memo(world: World) -> None:
    intent = world.create(match="recipient", recipient=OWN)
    world.mine(txs.sbtc_transfer(PAYER, OWN, 50_000, b"\xff\x00rent"))
    assert world.status(intent) == "succeeded"


def test_a_peg_in_pays_a_dedicated_recipient_only(world: World) -> None:
    intent = world.create(match="recipient", recipient=OWN)
    world.mine(txs.peg_in(OWN, 50_000), txs.peg_in(SHOP, 7))
    assert world.status(intent) == "succeeded"
    assert world.show(intent)["transfers"][0]["sender"] is None
    assert world.unmatched() == [("no_intent", 7)]


def test_money_that_fits_no_intent_says_why(world: World) -> None:
    world.create(reference="inv-1")
    world.create(reference="inv-2", payer=PAYER)
    world.create(reference="inv-3", recipient=OWN)
    terms = {"expires_at": 1, "salt": bytes(16)}
    world.mine(
        txs.sbtc_transfer(PAYER, SHOP, 1),
        txs.stx_transfer(PAYER, SHOP, 2, b"inv-1"),
        txs.sbtc_transfer(PAYER, SHOP, 3, b"inv-3"),
        txs.sbtc_transfer(STRANGER, SHOP, 4, b"inv-2"),
        txs.contract_payment(harness.PAYMENT_CONTRACT, PAYER, SHOP, 5, **terms),
        txs.fake_token(PAYER, SHOP, 6, b"inv-1"),
        txs.sbtc_transfer(PAYER, STRANGER, 7, b"inv-1"),
    )
    assert world.unmatched() == [
        ("no_intent", 1),
        ("wrong_asset", 2),
        ("wrong_recipient", 3),
        ("wrong_payer", 4),
        ("unknown_terms", 5),
        ("wrong_asset", 6),
        ("wrong_recipient", 7),
    ]
    assert {row["merchant_id"] for row in world.transfers()} == {world.merchant}


def test_money_outside_an_intents_time_says_so(world: World) -> None:
    intent = world.create(not_before=int(world.clock()) + 100)
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 1, world.memo(intent)))
    world.pass_time(3600 + 600 + 86_400)
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 2, world.memo(intent)))
    assert world.unmatched() == [("before_intent", 1), ("too_late", 2)]


def test_the_rest_of_the_chain_is_only_counted(world: World) -> None:
    applied = world.mine(
        txs.sbtc_transfer(PAYER, STRANGER, 1, b"whatever"),
        txs.stx_transfer(PAYER, STRANGER, 2),
        txs.fake_token(PAYER, SHOP, 3),
    )
    assert (applied.seen, applied.transfers, world.transfers()) == (3, 0, [])


def test_ignored_senders_never_pay(world: World) -> None:
    [staking] = NETWORKS[NetworkName.MAINNET].ignored_senders
    intent = world.create(match="recipient", recipient=OWN)
    assert world.mine(txs.sbtc_transfer(staking, OWN, 50_000)).seen == 0
    assert world.status(intent) == "pending"


def test_two_merchants_may_use_one_reference(world: World) -> None:
    theirs_at = principal("other shop")
    other = world.add_merchant("Other", theirs_at)
    ours, theirs = world.create(reference="inv-1"), world.create(other, reference="inv-1")
    world.mine(txs.sbtc_transfer(PAYER, theirs_at, 50_000, b"inv-1"))
    assert (world.status(ours), world.status(theirs)) == ("pending", "succeeded")
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"INV-1"))
    assert (world.status(ours), world.status(theirs)) == ("succeeded", "succeeded")


def test_money_stays_with_the_merchant_whose_address_it_went_to_whoever_has_its_reference(
    world: World,
) -> None:
    other = world.add_merchant("Other", principal("other shop"))
    world.create(other, reference="inv-1")
    world.mine(
        txs.sbtc_transfer(PAYER, SHOP, 1, b"inv-1"),
        txs.sbtc_transfer(PAYER, SHOP, 2, b"inv-2"),
        txs.sbtc_transfer(PAYER, STRANGER, 3, b"inv-1"),
    )
    owners = {1: world.merchant, 2: world.merchant, 3: other}
    assert {row["amount"]: row["merchant_id"] for row in world.transfers()} == owners
    world.create(other, reference="inv-2")
    assert {row["amount"]: row["merchant_id"] for row in world.transfers()} == owners


def test_one_transaction_can_pay_several_intents(world: World) -> None:
    intents = [world.create(amount=n) for n in (10, 20, 30)]
    payments = [(SHOP, n, world.memo(intent)) for n, intent in zip((10, 20, 30), intents, strict=True)]
    world.mine(txs.token_transfer_many(PAYER, payments))
    assert [world.status(intent) for intent in intents] == ["succeeded"] * 3


@pytest.mark.parametrize(
    "memo", [b"\0" * 34, b"\xff" * 34, b"'; DROP TABLE intent; --", b"%_%", "🦊".encode() * 8, b"\x1b[2J"]
)
def test_hostile_memos_are_data(world: World, memo: bytes) -> None:
    world.mine(txs.stx_transfer(PAYER, SHOP, 1, memo))
    [row] = world.transfers()
    assert (row["reason"], row["memo"]) == ("no_intent", memo.ljust(34, b"\0"))


def test_amounts_of_128_bits_and_sums_beyond_them_stay_whole(world: World) -> None:
    intent = world.create(amount=MAX_AMOUNT)
    world.mine(
        *(txs.sbtc_transfer(PAYER, SHOP, MAX_AMOUNT, world.memo(intent), label=str(n)) for n in range(3))
    )
    shown = world.show(intent)
    assert shown["status"] == "succeeded"
    assert shown["amount_received"] == str(3 * MAX_AMOUNT)
    assert shown["amount_over"] == str(2 * MAX_AMOUNT)
    assert [money["amount"] for money in shown["transfers"]] == [str(MAX_AMOUNT)] * 3


# Attempts


def test_a_failed_attempt_is_listed_and_fails_the_intent_at_its_deadline(world: World) -> None:
    intent = world.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))
    world.mine(txs.failed(payment, "abort_by_post_condition"))
    shown = world.show(intent)
    assert shown["status"] == "pending"
    assert [(a["tx_id"], a["reason"]) for a in shown["attempts"]] == [
        (payment.tx_id, "abort_by_post_condition")
    ]
    world.pass_time(5000)
    assert world.told(intent) == ["created", "failed:abort_by_post_condition"]


def test_an_attempt_to_pay_something_else_is_not_the_intents(world: World) -> None:
    intent = world.create()
    world.mine(txs.failed(txs.sbtc_transfer(PAYER, STRANGER, 50_000, world.memo(intent))))
    assert world.show(intent)["attempts"] == []


def test_the_same_transaction_fails_on_one_branch_and_pays_on_the_other(world: World) -> None:
    intent = world.create(payer=PAYER, level="stacks=3,bitcoin=0")
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))
    world.mine(txs.failed(payment))
    world.fork(1, [[payment], [], []])
    assert (world.status(intent), world.show(intent)["attempts"]) == ("succeeded", [])


# Steps


def test_a_payment_goes_from_processing_to_succeeded_by_depth(world: World) -> None:
    intent = world.create(level="anchored")
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    assert world.status(intent) == "processing"
    assert world.show(intent)["confirmations"]["reached"] == {"stacks": 1, "bitcoin": 0}
    applied = world.mine(burn=True)
    assert applied.settled.intents == 0, "one Bitcoin block is not what it waits for"
    applied = world.mine(burn=True)
    assert applied.settled.events == 1
    shown = world.show(intent)
    assert shown["status"] == "succeeded"
    assert shown["confirmations"]["reached"] == {"stacks": 3, "bitcoin": 2}
    assert world.told(intent) == ["created", "processing", "succeeded"]
    assert [entry["status"] for entry in shown["timeline"]] == ["pending", "processing", "succeeded"]


def test_one_step_of_many_blocks_says_the_same_as_many_steps(world: World) -> None:
    intent = world.create(level="stacks=3,bitcoin=1")
    height = world.tip.height
    world.chain.mine([txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))])
    world.chain.mine(n=3, burn=True)
    applied = world.apply(world.extend(height))
    assert (applied.blocks, applied.clock.height) == (4, world.tip.height)
    assert world.told(intent) == ["created", "succeeded"]


def test_intents_wake_by_time_height_and_bitcoin_height(world: World) -> None:
    by_time = world.create(expires_in=60)
    by_height = world.create(level="stacks=3,bitcoin=0")
    by_burn = world.create(level="stacks=1,bitcoin=1")
    world.mine(*(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(i)) for i in (by_height, by_burn)))
    assert world.mine().settled.intents == 0
    assert world.mine().settled.intents == 1
    assert world.status(by_height) == "succeeded"
    assert world.mine(burn=True).settled.intents == 1
    assert world.status(by_burn) == "succeeded"
    assert world.pass_time(700).settled.intents == 1
    assert world.status(by_time) == "expired"
    assert world.pass_time(100_000).settled.intents == 0


def test_a_step_that_was_applied_is_refused_and_changes_nothing(world: World) -> None:
    intent = world.create()
    height = world.tip.height
    world.chain.mine([txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))])
    step = world.extend(height)
    world.apply(step)
    before = snapshot(world)
    with pytest.raises(OutOfStep):
        world.apply(step)
    assert snapshot(world) == before


def test_steps_that_do_not_fit_are_refused_and_change_nothing(world: World) -> None:
    world.mine(n=3)
    step = world.extend(world.tip.height - 2)
    blocks = step.blocks
    stranger = replace(blocks[0].header, hash="0xstranger")
    before = snapshot(world)
    world.chain.mine()
    [following] = world.extend(world.tip.height - 1).blocks
    orphan = replace(following, header=replace(following.header, parent_hash="0xelse"))
    for wrong in (
        step,
        Extend(blocks=(), tip=world.tip),
        Extend(blocks=(orphan,), tip=world.tip),
        Extend(blocks=(following, following), tip=world.tip),
        Reorg(ancestor=stranger, blocks=(), tip=world.tip),
        Reorg(ancestor=following.header, blocks=(), tip=world.tip),
        Reorg(ancestor=blocks[0].header, blocks=(following,), tip=world.tip),
    ):
        with pytest.raises(OutOfStep):
            world.apply(wrong)
    assert snapshot(world) == before


def test_a_block_of_our_chain_cannot_come_again_higher_up(world: World) -> None:
    """Its header would replace the one below: the step is refused as its source's failure, and nothing changes."""
    first = world.chain.tip
    world.mine(n=2)
    height = world.tip.height
    before = snapshot(world)
    world.chain.mine()
    [following] = world.extend(height).blocks
    again = replace(following, header=replace(following.header, hash=first.hash))
    with pytest.raises(BadStep, match=f"at height {first.height} already"):
        world.apply(Extend(blocks=(again,), tip=again.header))
    assert snapshot(world) == before


def test_a_block_that_comes_back_is_kept_as_it_is_described_then(world: World) -> None:
    """Whoever described it first may have lied about its time."""
    height = world.tip.height
    world.chain.mine(burn=True)
    [true] = world.extend(height).blocks
    lie = replace(true, header=replace(true.header, time=true.header.time + 3600, burn_height=1))
    world.apply(Extend(blocks=(lie,), tip=lie.header))
    [ancestor] = [header for header in world.ledger.window(10**6) if header.height == height]
    world.apply(Reorg(ancestor=ancestor, blocks=(), tip=ancestor))
    world.apply(Extend(blocks=(true,), tip=true.header))
    with world.database.read() as connection:
        assert canonical_header(connection, true.header.height) == true.header


def test_a_database_that_has_not_begun_takes_no_step(before_the_chain: World) -> None:
    world = before_the_chain
    world.chain.mine()
    with pytest.raises(OutOfStep, match="not begun"):
        world.apply(world.extend(100))
    assert world.ledger.cursor() is None
    assert world.ledger.window(10) == ()


def test_a_database_of_another_network_is_refused(world: World) -> None:
    other = Ledger(world.database, harness.RULES, Settler(network="testnet"), now=world.clock)
    with pytest.raises(ConfigError, match="follows mainnet, the settings say testnet"):
        other.cursor()


def test_a_halt_is_kept_with_its_beginning_until_the_cursor_moves(world: World) -> None:
    halt = Halt(code="reorg_too_deep", message="m", hint="h")
    world.ledger.record_poll(tip=None, sources=[{"state": "ok"}], halt=halt)
    began = int(world.clock())
    world.clock.now += 100
    world.ledger.record_poll(tip=world.tip, sources=[], halt=halt)
    cursor = world.ledger.cursor()
    assert cursor is not None
    assert cursor.halted == {"code": "reorg_too_deep", "message": "m", "hint": "h", "since": began}
    assert cursor.looked_at == began + 100
    world.mine()
    cursor = world.ledger.cursor()
    assert cursor is not None
    assert cursor.halted is None


def test_the_window_holds_the_newest_headers(world: World) -> None:
    world.mine(n=3, burn=True)
    newest = [block.header for block in world.chain.blocks]
    assert world.ledger.window(100) == tuple(newest)
    assert world.ledger.window(1) == tuple(newest[-2:])


class Crash(BaseException):
    """The process dies here."""


class CrashingSettler(Settler):
    """A settler that dies after they have settled everything."""

    def settle(self, *args: object, **more: object) -> object:  # type: ignore[override]
        super().settle(*args, **more)  # type: ignore[arg-type]
        raise Crash


def test_a_process_that_dies_before_the_commit_leaves_nothing_of_the_step(world: World) -> None:
    intent = world.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent))
    height = world.tip.height
    world.chain.mine([payment])
    before = snapshot(world)
    dying = Ledger(world.database, harness.RULES, CrashingSettler(network="mainnet"), now=world.clock)
    with pytest.raises(Crash):
        dying.apply(world.extend(height))
    assert snapshot(world) == before
    assert world.status(intent) == "pending"
    world.apply(world.extend(height))
    assert world.told(intent) == ["created", "succeeded"]


def test_a_process_that_dies_in_a_reorg_leaves_nothing_of_it(world: World) -> None:
    intent = world.create()
    world.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, world.memo(intent)))
    world.chain.reorg(1)
    before = snapshot(world)
    dying = Ledger(world.database, harness.RULES, CrashingSettler(network="mainnet"), now=world.clock)
    with pytest.raises(Crash):
        dying.apply(world.reorg())
    assert snapshot(world) == before
    world.apply(world.reorg())
    assert world.status(intent) == "processing"


def test_a_process_that_dies_while_an_intent_is_created_leaves_none(world: World) -> None:
    world.settler = CrashingSettler(network="mainnet")
    with pytest.raises(Crash):
        world.create(reference="inv-1")
    world.settler = harness.BOOKS
    assert world.create(reference="inv-1")
    with world.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(event)).scalar_one() == 1
