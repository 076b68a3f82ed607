"""One step of the chain is one transaction: transfers are matched, and nothing is half done or done twice."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from chain.model import MAX_AMOUNT, Extend, Reorg
from chain.testing import principal, txs
from contracts.networks import NETWORKS, NetworkName
from notifier.schema import event
from tests import harness
from tests.integration.watcher.ledger_fixture import PAYER, SHOP, STRANGER, LedgerFixture
from watcher.domain.server_info import ServerInfo
from watcher.errors import ConfigError
from watcher.indexer.ledger import Ledger, OutOfStep
from watcher.indexer.matcher import BadStep
from watcher.indexer.settler import Settler
from watcher.store.chain_state import Halt, canonical_header, load_cursor
from watcher.store.schema import attempt, block, transfer

SERVER = ServerInfo(network="mainnet")

OWN = principal("own address")


def snapshot(fixture: LedgerFixture) -> list[object]:
    """Return everything that a step may change, comparable."""
    with fixture.database.read() as connection:
        rows = [
            sorted(map(repr, connection.execute(select(table)).all()))
            for table in (block, transfer, attempt, event)
        ]
        return [load_cursor(connection), *rows]


# Matching


def test_money_finds_its_intent_by_reference(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    applied = fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    assert (applied.blocks, applied.transfers, applied.seen) == (1, 1, 1)
    shown = fixture.show(intent)
    assert (shown["status"], shown["amount_received"]) == ("succeeded", "50000")
    [money] = shown["transfers"]
    assert (money["sender"], money["status"], money["block_hash"]) == (PAYER, "canonical", fixture.tip.hash)


def test_money_finds_its_intent_by_the_contracts_terms(fixture: LedgerFixture) -> None:
    expires_at = int(fixture.clock()) + 600
    intent = fixture.create(salt="ab" * 16, expires_at=expires_at)
    terms = {"expires_at": expires_at, "salt": b"\xab" * 16}
    fixture.mine(txs.contract_payment(harness.PAYMENT_CONTRACT, PAYER, SHOP, 50_000, **terms))
    assert fixture.status(intent) == "succeeded"


def test_a_terms_hash_as_a_plain_memo_is_a_label_too(fixture: LedgerFixture) -> None:
    intent = fixture.create(asset="stx")
    fixture.mine(txs.stx_transfer(PAYER, SHOP, 50_000, bytes.fromhex(fixture.show(intent)["terms_hash"][2:])))
    assert fixture.status(intent) == "succeeded"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\t", "\ufeff", "\u200b", "\0\0"])
def test_money_finds_its_intent_whatever_a_shell_or_an_editor_left_after_the_reference(
    fixture: LedgerFixture, end: str
) -> None:
    """A memo made by ``echo REFERENCE`` pays, with a generated or an own reference, and keeps its bytes."""
    made, own = fixture.create(), fixture.create(reference="order-7")
    memos = [fixture.memo(intent) + end.encode() for intent in (made, own)]
    fixture.mine(*(txs.sbtc_transfer(PAYER, SHOP, 50_000, memo) for memo in memos))
    assert (fixture.status(made), fixture.status(own)) == ("succeeded", "succeeded")
    assert sorted(row["memo"] for row in fixture.transfers()) == sorted(memos)


@pytest.mark.parametrize("written", ["{}-{}-{}", "{} {} {}", "{}\u2013{}\u2013{}"])
def test_a_generated_reference_is_found_in_groups(fixture: LedgerFixture, written: str) -> None:
    """People type twelve characters in three groups of four, in lower case, with O for 0."""
    intent = fixture.create()
    text = fixture.memo(intent).decode().lower().replace("0", "o").replace("1", "l")
    typed = written.format(text[:4], text[4:8], text[8:])
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, typed.encode()))
    assert fixture.status(intent) == "succeeded"


def test_stx_that_an_exchange_sends_to_many_pays(fixture: LedgerFixture) -> None:
    """Each print of the router labels the transfer just before it; prints of other contracts label none."""
    first, second = (fixture.create(asset="stx", amount=amount) for amount in (5, 7))
    sent = [
        (SHOP, 5, fixture.memo(first)),
        (STRANGER, 6, fixture.memo(second)),
        (SHOP, 7, fixture.memo(second)),
    ]
    fixture.mine(txs.stx_send_many(PAYER, sent, router=f"{principal('thief')}.send-many-memo"))
    assert fixture.unmatched() == [("no_intent", 5), ("no_intent", 7)]
    assert (fixture.status(first), fixture.status(second)) == ("pending", "pending")
    fixture.mine(txs.stx_send_many(PAYER, sent))
    assert (fixture.status(first), fixture.status(second)) == ("succeeded", "succeeded")
    assert fixture.show(second)["amount_received"] == "7"


def test_money_finds_its_intent_by_a_dedicated_recipient_whatever_the_memo(fixture: LedgerFixture) -> None:
    intent = fixture.create(match="recipient", recipient=OWN)
    fixture.mine(txs.sbtc_transfer(PAYER, OWN, 50_000, b"\xff\x00rent"))
    assert fixture.status(intent) == "succeeded"


def test_a_peg_in_pays_a_dedicated_recipient_only(fixture: LedgerFixture) -> None:
    intent = fixture.create(match="recipient", recipient=OWN)
    fixture.mine(txs.peg_in(OWN, 50_000), txs.peg_in(SHOP, 7))
    assert fixture.status(intent) == "succeeded"
    assert fixture.show(intent)["transfers"][0]["sender"] is None
    assert fixture.unmatched() == [("no_intent", 7)]


def test_money_that_fits_no_intent_says_why(fixture: LedgerFixture) -> None:
    fixture.create(reference="inv-1")
    fixture.create(reference="inv-2", payer=PAYER)
    fixture.create(reference="inv-3", recipient=OWN)
    terms = {"expires_at": 1, "salt": bytes(16)}
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 1),
        txs.stx_transfer(PAYER, SHOP, 2, b"inv-1"),
        txs.sbtc_transfer(PAYER, SHOP, 3, b"inv-3"),
        txs.sbtc_transfer(STRANGER, SHOP, 4, b"inv-2"),
        txs.contract_payment(harness.PAYMENT_CONTRACT, PAYER, SHOP, 5, **terms),
        txs.fake_token(PAYER, SHOP, 6, b"inv-1"),
        txs.sbtc_transfer(PAYER, STRANGER, 7, b"inv-1"),
    )
    assert fixture.unmatched() == [
        ("no_intent", 1),
        ("wrong_asset", 2),
        ("wrong_recipient", 3),
        ("wrong_payer", 4),
        ("unknown_terms", 5),
        ("wrong_asset", 6),
        ("wrong_recipient", 7),
    ]
    assert {row["merchant_id"] for row in fixture.transfers()} == {fixture.merchant}


def test_money_outside_an_intents_time_says_so(fixture: LedgerFixture) -> None:
    intent = fixture.create(not_before=int(fixture.clock()) + 100)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 1, fixture.memo(intent)))
    fixture.pass_time(3600 + 600 + 86_400)
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 2, fixture.memo(intent)))
    assert fixture.unmatched() == [("before_intent", 1), ("too_late", 2)]


def test_the_rest_of_the_chain_is_only_counted(fixture: LedgerFixture) -> None:
    applied = fixture.mine(
        txs.sbtc_transfer(PAYER, STRANGER, 1, b"whatever"),
        txs.stx_transfer(PAYER, STRANGER, 2),
        txs.fake_token(PAYER, SHOP, 3),
    )
    assert (applied.seen, applied.transfers, fixture.transfers()) == (3, 0, [])


def test_ignored_senders_never_pay(fixture: LedgerFixture) -> None:
    [staking] = NETWORKS[NetworkName.MAINNET].ignored_senders
    intent = fixture.create(match="recipient", recipient=OWN)
    assert fixture.mine(txs.sbtc_transfer(staking, OWN, 50_000)).seen == 0
    assert fixture.status(intent) == "pending"


def test_two_merchants_may_use_one_reference(fixture: LedgerFixture) -> None:
    theirs_at = principal("other shop")
    other = fixture.add_merchant("Other", theirs_at)
    ours, theirs = fixture.create(reference="inv-1"), fixture.create(other, reference="inv-1")
    fixture.mine(txs.sbtc_transfer(PAYER, theirs_at, 50_000, b"inv-1"))
    assert (fixture.status(ours), fixture.status(theirs)) == ("pending", "succeeded")
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, b"INV-1"))
    assert (fixture.status(ours), fixture.status(theirs)) == ("succeeded", "succeeded")


def test_money_stays_with_the_merchant_whose_address_it_went_to_whoever_has_its_reference(
    fixture: LedgerFixture,
) -> None:
    other = fixture.add_merchant("Other", principal("other shop"))
    fixture.create(other, reference="inv-1")
    fixture.mine(
        txs.sbtc_transfer(PAYER, SHOP, 1, b"inv-1"),
        txs.sbtc_transfer(PAYER, SHOP, 2, b"inv-2"),
        txs.sbtc_transfer(PAYER, STRANGER, 3, b"inv-1"),
    )
    owners = {1: fixture.merchant, 2: fixture.merchant, 3: other}
    assert {row["amount"]: row["merchant_id"] for row in fixture.transfers()} == owners
    fixture.create(other, reference="inv-2")
    assert {row["amount"]: row["merchant_id"] for row in fixture.transfers()} == owners


def test_one_transaction_can_pay_several_intents(fixture: LedgerFixture) -> None:
    intents = [fixture.create(amount=n) for n in (10, 20, 30)]
    payments = [(SHOP, n, fixture.memo(intent)) for n, intent in zip((10, 20, 30), intents, strict=True)]
    fixture.mine(txs.token_transfer_many(PAYER, payments))
    assert [fixture.status(intent) for intent in intents] == ["succeeded"] * 3


@pytest.mark.parametrize(
    "memo", [b"\0" * 34, b"\xff" * 34, b"'; DROP TABLE intent; --", b"%_%", "🦊".encode() * 8, b"\x1b[2J"]
)
def test_hostile_memos_are_data(fixture: LedgerFixture, memo: bytes) -> None:
    fixture.mine(txs.stx_transfer(PAYER, SHOP, 1, memo))
    [row] = fixture.transfers()
    assert (row["reason"], row["memo"]) == ("no_intent", memo.ljust(34, b"\0"))


def test_amounts_of_128_bits_and_sums_beyond_them_stay_whole(fixture: LedgerFixture) -> None:
    intent = fixture.create(amount=MAX_AMOUNT)
    fixture.mine(
        *(txs.sbtc_transfer(PAYER, SHOP, MAX_AMOUNT, fixture.memo(intent), label=str(n)) for n in range(3))
    )
    shown = fixture.show(intent)
    assert shown["status"] == "succeeded"
    assert shown["amount_received"] == str(3 * MAX_AMOUNT)
    assert shown["amount_over"] == str(2 * MAX_AMOUNT)
    assert [money["amount"] for money in shown["transfers"]] == [str(MAX_AMOUNT)] * 3


# Attempts


def test_a_failed_attempt_is_listed_and_fails_the_intent_at_its_deadline(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    fixture.mine(payment.failed("abort_by_post_condition"))
    shown = fixture.show(intent)
    assert shown["status"] == "pending"
    assert [(a["tx_id"], a["reason"]) for a in shown["attempts"]] == [
        (payment.tx_id, "abort_by_post_condition")
    ]
    fixture.pass_time(5000)
    assert fixture.sent_events(intent) == ["created", "failed:abort_by_post_condition"]


def test_an_attempt_to_pay_something_else_is_not_the_intents(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, STRANGER, 50_000, fixture.memo(intent)).failed())
    assert fixture.show(intent)["attempts"] == []


def test_the_same_transaction_fails_on_one_branch_and_pays_on_the_other(fixture: LedgerFixture) -> None:
    intent = fixture.create(payer=PAYER, level="stacks=3,bitcoin=0")
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    fixture.mine(payment.failed())
    fixture.fork(1, [[payment], [], []])
    assert (fixture.status(intent), fixture.show(intent)["attempts"]) == ("succeeded", [])


# Steps


def test_a_payment_goes_from_processing_to_succeeded_by_depth(fixture: LedgerFixture) -> None:
    intent = fixture.create(level="anchored")
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    assert fixture.status(intent) == "processing"
    assert fixture.show(intent)["confirmations"]["reached"] == {"stacks": 1, "bitcoin": 0}
    applied = fixture.mine(burn=True)
    assert applied.settled.intents == 0, "one Bitcoin block is not what it waits for"
    applied = fixture.mine(burn=True)
    assert applied.settled.events == 1
    shown = fixture.show(intent)
    assert shown["status"] == "succeeded"
    assert shown["confirmations"]["reached"] == {"stacks": 3, "bitcoin": 2}
    assert fixture.sent_events(intent) == ["created", "processing", "succeeded"]
    assert [entry["status"] for entry in shown["timeline"]] == ["pending", "processing", "succeeded"]


def test_one_step_of_many_blocks_says_the_same_as_many_steps(fixture: LedgerFixture) -> None:
    intent = fixture.create(level="stacks=3,bitcoin=1")
    height = fixture.tip.height
    fixture.chain.mine([txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))])
    fixture.chain.mine(n=3, burn=True)
    applied = fixture.apply(fixture.extend(height))
    assert (applied.blocks, applied.clock.height) == (4, fixture.tip.height)
    assert fixture.sent_events(intent) == ["created", "succeeded"]


def test_intents_wake_by_time_height_and_bitcoin_height(fixture: LedgerFixture) -> None:
    by_time = fixture.create(expires_in=60)
    by_height = fixture.create(level="stacks=3,bitcoin=0")
    by_burn = fixture.create(level="stacks=1,bitcoin=1")
    fixture.mine(*(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(i)) for i in (by_height, by_burn)))
    assert fixture.mine().settled.intents == 0
    assert fixture.mine().settled.intents == 1
    assert fixture.status(by_height) == "succeeded"
    assert fixture.mine(burn=True).settled.intents == 1
    assert fixture.status(by_burn) == "succeeded"
    assert fixture.pass_time(700).settled.intents == 1
    assert fixture.status(by_time) == "expired"
    assert fixture.pass_time(100_000).settled.intents == 0


def test_a_step_that_was_applied_is_refused_and_changes_nothing(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    height = fixture.tip.height
    fixture.chain.mine([txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))])
    step = fixture.extend(height)
    fixture.apply(step)
    before = snapshot(fixture)
    with pytest.raises(OutOfStep):
        fixture.apply(step)
    assert snapshot(fixture) == before


def test_steps_that_do_not_fit_are_refused_and_change_nothing(fixture: LedgerFixture) -> None:
    fixture.mine(n=3)
    step = fixture.extend(fixture.tip.height - 2)
    blocks = step.blocks
    stranger = replace(blocks[0].header, hash="0xstranger")
    before = snapshot(fixture)
    fixture.chain.mine()
    [following] = fixture.extend(fixture.tip.height - 1).blocks
    orphan = replace(following, header=replace(following.header, parent_hash="0xelse"))
    for wrong in (
        step,
        Extend(blocks=(), tip=fixture.tip),
        Extend(blocks=(orphan,), tip=fixture.tip),
        Extend(blocks=(following, following), tip=fixture.tip),
        Reorg(ancestor=stranger, blocks=(), tip=fixture.tip),
        Reorg(ancestor=following.header, blocks=(), tip=fixture.tip),
        Reorg(ancestor=blocks[0].header, blocks=(following,), tip=fixture.tip),
    ):
        with pytest.raises(OutOfStep):
            fixture.apply(wrong)
    assert snapshot(fixture) == before


def test_a_block_of_our_chain_cannot_come_again_higher_up(fixture: LedgerFixture) -> None:
    """Its header would replace the one below: the step is refused as its source's fault; nothing changes."""
    first = fixture.chain.tip
    fixture.mine(n=2)
    height = fixture.tip.height
    before = snapshot(fixture)
    fixture.chain.mine()
    [following] = fixture.extend(height).blocks
    again = replace(following, header=replace(following.header, hash=first.hash))
    with pytest.raises(BadStep, match=f"at height {first.height} already"):
        fixture.apply(Extend(blocks=(again,), tip=again.header))
    assert snapshot(fixture) == before


def test_a_block_that_comes_back_is_kept_as_it_is_described_then(fixture: LedgerFixture) -> None:
    """Its first description may have had a false time."""
    height = fixture.tip.height
    fixture.chain.mine(burn=True)
    [true] = fixture.extend(height).blocks
    lie = replace(true, header=replace(true.header, time=true.header.time + 3600, burn_height=1))
    fixture.apply(Extend(blocks=(lie,), tip=lie.header))
    [ancestor] = [header for header in fixture.ledger.window(10**6) if header.height == height]
    fixture.apply(Reorg(ancestor=ancestor, blocks=(), tip=ancestor))
    fixture.apply(Extend(blocks=(true,), tip=true.header))
    with fixture.database.read() as connection:
        assert canonical_header(connection, true.header.height) == true.header


def test_a_database_that_has_not_begun_takes_no_step(before_the_chain: LedgerFixture) -> None:
    fixture = before_the_chain
    fixture.chain.mine()
    with pytest.raises(OutOfStep, match="not begun"):
        fixture.apply(fixture.extend(100))
    assert fixture.ledger.cursor() is None
    assert fixture.ledger.window(10) == ()


def test_a_database_of_another_network_is_refused(fixture: LedgerFixture) -> None:
    other = Ledger(
        fixture.database, harness.RULES, Settler(server_info=ServerInfo(network="testnet")), now=fixture.clock
    )
    with pytest.raises(ConfigError, match="follows mainnet, the settings say testnet"):
        other.cursor()


def test_a_halt_is_kept_with_its_beginning_until_the_cursor_moves(fixture: LedgerFixture) -> None:
    halt = Halt(code="reorg_too_deep", message="m", hint="h")
    fixture.ledger.record_poll(tip=None, sources=[{"state": "ok"}], halt=halt)
    began = int(fixture.clock())
    fixture.clock.now += 100
    fixture.ledger.record_poll(tip=fixture.tip, sources=[], halt=halt)
    cursor = fixture.ledger.cursor()
    assert cursor is not None
    assert cursor.halted == {"code": "reorg_too_deep", "message": "m", "hint": "h", "since": began}
    assert cursor.looked_at == began + 100
    fixture.mine()
    cursor = fixture.ledger.cursor()
    assert cursor is not None
    assert cursor.halted is None


def test_the_window_holds_the_newest_headers(fixture: LedgerFixture) -> None:
    fixture.mine(n=3, burn=True)
    newest = [block.header for block in fixture.chain.blocks]
    assert fixture.ledger.window(100) == tuple(newest)
    assert fixture.ledger.window(1) == tuple(newest[-2:])


class Crash(BaseException):
    """The process dies here."""


class CrashingSettler(Settler):
    """A settler that dies after everything was settled."""

    def settle(self, *args: object, **more: object) -> object:  # type: ignore[override]
        super().settle(*args, **more)  # type: ignore[arg-type]
        raise Crash


def test_a_process_that_dies_before_the_commit_leaves_nothing_of_the_step(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    payment = txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent))
    height = fixture.tip.height
    fixture.chain.mine([payment])
    before = snapshot(fixture)
    dying = Ledger(fixture.database, harness.RULES, CrashingSettler(server_info=SERVER), now=fixture.clock)
    with pytest.raises(Crash):
        dying.apply(fixture.extend(height))
    assert snapshot(fixture) == before
    assert fixture.status(intent) == "pending"
    fixture.apply(fixture.extend(height))
    assert fixture.sent_events(intent) == ["created", "succeeded"]


def test_a_process_that_dies_in_a_reorg_leaves_nothing_of_it(fixture: LedgerFixture) -> None:
    intent = fixture.create()
    fixture.mine(txs.sbtc_transfer(PAYER, SHOP, 50_000, fixture.memo(intent)))
    fixture.chain.reorg(1)
    before = snapshot(fixture)
    dying = Ledger(fixture.database, harness.RULES, CrashingSettler(server_info=SERVER), now=fixture.clock)
    with pytest.raises(Crash):
        dying.apply(fixture.reorg())
    assert snapshot(fixture) == before
    fixture.apply(fixture.reorg())
    assert fixture.status(intent) == "processing"


def test_a_process_that_dies_while_an_intent_is_created_leaves_none(fixture: LedgerFixture) -> None:
    fixture.settler = CrashingSettler(server_info=SERVER)
    with pytest.raises(Crash):
        fixture.create(reference="inv-1")
    fixture.settler = harness.SETTLER
    assert fixture.create(reference="inv-1")
    with fixture.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(event)).scalar_one() == 1
