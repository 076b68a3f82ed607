"""The scripted chain: its tree, its fork choice, its mempool, its transactions."""

import hashlib

import pytest

from chain import clarity
from chain.address import parse_principal
from chain.clarity_repr import to_repr
from chain.model import (
    ContractCall,
    FetchRules,
    MintEvent,
    PrintEvent,
    TransferEvent,
    TxStatus,
)
from chain.testing import ScriptedChain, block_model, events, principal, principals, txs
from chain.testing.scripted import BlockSeen, PoolSeen
from chain.testing.tx import OK_TRUE
from chain.testing.txs import SBTC, SBTC_CONTRACT

PAYER, MERCHANT, STRANGER = principals(3)
PAY = txs.sbtc_transfer(PAYER, MERCHANT, 50_000, memo=b"INV-1")
CONTRACT = f"{STRANGER}.sbtc-payments"


def test_a_chain_begins_with_one_block_that_holds_a_transaction() -> None:
    chain = ScriptedChain()
    assert (chain.tip.height, chain.tip.burn_height, chain.tip.time) == (100, 900_000, 1_800_000_000)
    assert chain.tip.tx_count == len(chain.block(100).txs) > 0


def test_every_block_points_at_its_parent_and_holds_at_least_one_transaction() -> None:
    chain = ScriptedChain()
    chain.mine(n=5)
    chain.mine([PAY], burn=True)
    for parent, child in zip(chain.blocks, chain.blocks[1:], strict=False):
        assert child.header.parent_hash == parent.header.hash
        assert child.parent_block_hash == parent.header.block_hash
        assert child.header.height == parent.header.height + 1
        assert child.header.tx_count == len(child.txs) >= 1


def test_equal_scripts_give_equal_chains_and_another_seed_another_one() -> None:
    def history(seed: str) -> str:
        chain = ScriptedChain(seed=seed)
        chain.mine([PAY], n=3, burn=True)
        chain.reorg(2)
        return chain.tip.hash

    assert history("a") == history("a") != history("b")


def test_bitcoin_blocks_begin_tenures_and_only_then_change_the_burn_view() -> None:
    chain = ScriptedChain()
    before = chain.block(chain.tip.height)
    same = chain.block(chain.mine().height)
    after = chain.block(chain.mine([PAY], burn_blocks=3).height)
    assert (same.header.burn_height, same.header.burn_hash) == (
        before.header.burn_height,
        before.header.burn_hash,
    )
    assert after.header.burn_height == before.header.burn_height + 3
    assert after.header.burn_hash != before.header.burn_hash
    assert after.tenure_height == same.tenure_height + 1 == before.tenure_height + 1
    assert [tx.kind for tx in after.txs] == ["tenure_change", "coinbase", "contract_call"]


def test_mining_many_blocks_puts_the_transactions_into_the_first_and_bitcoin_blocks_before_each() -> None:
    chain = ScriptedChain()
    chain.mine([PAY], n=3, burn=True)
    assert [PAY in block.txs for block in chain.blocks] == [False, True, False, False]
    assert [block.header.burn_height for block in chain.blocks] == [900_000, 900_001, 900_002, 900_003]


def test_a_block_may_be_older_than_its_parent() -> None:
    chain = ScriptedChain()
    start = chain.tip.time
    assert chain.mine(seconds=-30).time == start - 30
    assert [chain.mine(n=2, time=5).time, chain.block(102).header.time] == [15, 5]


def test_a_transaction_cannot_be_mined_twice_on_one_branch() -> None:
    chain = ScriptedChain()
    chain.mine([PAY])
    with pytest.raises(ValueError, match="label"):
        chain.mine([PAY])
    with pytest.raises(ValueError, match="twice"):
        chain.mine([txs.stx_transfer(PAYER, MERCHANT, 1)] * 2)
    branch = chain.fork(100)
    branch.mine([PAY])
    with pytest.raises(ValueError, match="already"):
        branch.mine([PAY])
    labelled = txs.sbtc_transfer(PAYER, MERCHANT, 50_000, memo=b"INV-1", label="second")
    assert labelled.tx_id != PAY.tx_id
    assert chain.mine([labelled]) == chain.mined_in(labelled.tx_id)


def test_a_stale_sibling_stays_invisible_until_its_branch_is_longer() -> None:
    chain = ScriptedChain()
    old = chain.mine(n=2)
    branch = chain.fork(100)
    branch.mine(n=2)
    assert chain.tip == old
    assert not branch.is_canonical
    with pytest.raises(ValueError, match="mine 1 more"):
        branch.promote()
    branch.mine()
    assert chain.tip == branch.tip == branch.promote()
    assert not chain.is_canonical(old.hash)
    assert chain.header(old.hash) == old


def test_a_followed_branch_is_canonical_at_once_and_may_be_shorter() -> None:
    chain = ScriptedChain(keep="follow")
    old = chain.mine([PAY], n=4)
    branch = chain.fork(101)
    branch.mine()
    assert chain.tip == old
    assert branch.promote() == chain.tip
    assert chain.tip.height == 102
    back = chain.fork(100)
    assert back.promote().height == chain.tip.height == 100
    again = chain.fork(old.hash)
    again.promote()
    assert chain.tip == old
    assert chain.mined_in(PAY.tx_id) == chain.header(101)


def test_orphaned_transactions_are_pending_again_and_remined_elsewhere() -> None:
    chain = ScriptedChain()
    known = txs.stx_transfer(PAYER, MERCHANT, 7)
    entry = chain.add_pending(known, time=1_700_000_000)
    orphan = chain.mine([PAY, known])
    assert chain.mempool.pending() == []
    chain.reorg(1)
    assert chain.mempool.get(known.tx_id) == entry
    fresh = chain.mempool.get(PAY.tx_id)
    assert fresh is not None
    assert (fresh.status, fresh.receipt_time, fresh.receipt_height) == (
        "pending",
        orphan.burn_time,
        orphan.height,
    )
    again = chain.mine([PAY])
    assert chain.mined_in(PAY.tx_id) == again
    assert [entry.tx for entry in chain.mempool.pending()] == [known]


def test_miners_own_transactions_never_enter_the_mempool() -> None:
    chain = ScriptedChain()
    chain.mine(n=3, burn=True)
    chain.reorg(3)
    assert chain.mempool.pending() == []


def test_a_transaction_on_both_branches_has_the_outcome_of_the_canonical_one() -> None:
    chain = ScriptedChain()
    chain.mine([PAY])
    chain.reorg(1, [[PAY.failed()], []])
    place = chain.canonical.place(PAY.tx_id)
    assert place is not None
    assert place[0].txs[place[1]].status == TxStatus.ABORT_BY_RESPONSE
    assert place[0].txs[place[1]].events == ()
    assert chain.mempool.pending() == []


def test_the_same_transaction_may_move_another_amount_on_a_fork() -> None:
    more = txs.with_amount(PAY, 60_000)
    assert more.tx_id == PAY.tx_id
    assert [event.amount for event in more.events] == [60_000, 0]
    stx = txs.with_amount(txs.stx_transfer(PAYER, MERCHANT, 5, b"m"), 6)
    assert stx.transfer == (MERCHANT, 6, b"m".ljust(34, b"\0"))
    assert stx.events[0].amount == 6
    assert txs.with_events(PAY, []).events == ()


def test_of_two_pending_transactions_with_one_nonce_the_higher_fee_stays() -> None:
    chain = ScriptedChain()
    low = txs.sbtc_transfer(PAYER, MERCHANT, 1, nonce=4, fee=300)
    high = txs.sbtc_transfer(PAYER, STRANGER, 1, nonce=4, fee=3000)
    chain.add_pending(low)
    chain.add_pending(high)
    dropped = chain.mempool.get(low.tx_id)
    assert dropped is not None
    assert (dropped.status, dropped.replaced_by) == ("dropped_replace_by_fee", high.tx_id)
    late = txs.sbtc_transfer(PAYER, MERCHANT, 2, nonce=4, fee=400)
    assert chain.add_pending(late).replaced_by == high.tx_id
    rival = txs.sbtc_transfer(PAYER, MERCHANT, 3, nonce=4, fee=1)
    chain.mine([rival])
    beaten = chain.mempool.get(high.tx_id)
    assert beaten is not None
    assert (beaten.status, beaten.replaced_by) == ("dropped_replace_by_fee", rival.tx_id)


def test_pending_transactions_can_be_dropped_once_and_mined_ones_not_added() -> None:
    chain = ScriptedChain()
    chain.add_pending(PAY)
    assert chain.drop_pending(PAY.tx_id, "too_expensive").status == "dropped_too_expensive"
    with pytest.raises(KeyError):
        chain.drop_pending(PAY.tx_id)
    chain.mine([PAY])
    with pytest.raises(ValueError, match="mined already"):
        chain.add_pending(PAY)


def test_a_clone_goes_its_own_way() -> None:
    chain = ScriptedChain()
    chain.mine([PAY])
    twin = chain.clone()
    assert twin.tip == chain.tip
    twin.reorg(1)
    twin.add_pending(txs.stx_transfer(PAYER, MERCHANT, 1))
    assert chain.mined_in(PAY.tx_id) == chain.tip
    assert chain.mempool.pending() == []
    assert chain.mine() == chain.clone().tip


def test_orphans_are_never_announced_and_of_a_winning_branch_only_the_tip() -> None:
    chain = ScriptedChain()
    heard: list[object] = []
    stop = chain.listen(heard.append)
    chain.add_pending(PAY)
    chain.mine([PAY])
    branch = chain.fork(100)
    branch.mine()
    branch.mine()
    chain.drop_pending(PAY.tx_id)
    stop()
    chain.mine()
    assert [
        (said.block.header.height, said.canonical, [entry.tx.tx_id for entry in said.was_pending])
        for said in heard
        if isinstance(said, BlockSeen)
    ] == [(101, True, [PAY.tx_id]), (101, False, []), (102, True, [])]
    assert [said.entry.status for said in heard if isinstance(said, PoolSeen)] == [
        "pending",
        "dropped_stale_garbage_collect",
    ]


def test_two_thousand_blocks_are_looked_up_without_walking() -> None:
    chain = ScriptedChain()
    for number in range(2000):
        chain.mine([txs.stx_transfer(PAYER, MERCHANT, number + 1)])
    assert chain.tip.height == 2100
    rows = chain.canonical.newest_first(1000, 3)
    assert [(block.header.height, index) for block, index in rows] == [(1099, 0), (1098, 0), (1097, 0)]


def test_made_up_principals_are_valid_and_of_their_network() -> None:
    assert parse_principal(principal("x"), mainnet=True)
    assert parse_principal(principal("x", mainnet=False), mainnet=False)
    assert len(set(principals(20))) == 20


def test_the_terms_hash_agrees_with_the_contract() -> None:
    """The vector was computed by the payment contract itself in a Clarity VM."""
    digest = txs.terms_hash(
        amount=150_000,
        expires_at=4_102_444_800,
        merchant="ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM",
        salt=bytes.fromhex("00112233445566778899aabbccddeeff"),
    )
    assert digest.hex() == "0ce0dc3334ab025f576dd0622408ed93c2f53be78a5767a0946e721b21978ad8"


def test_a_contract_payment_prints_its_terms_then_moves_the_token_with_the_hash_as_memo() -> None:
    terms = {"amount": 9, "expires_at": 2_000_000_000, "salt": b"s" * 16}
    digest = txs.terms_hash(amount=9, expires_at=2_000_000_000, merchant=MERCHANT, salt=b"s" * 16)
    payment = txs.contract_payment(CONTRACT, PAYER, MERCHANT, **terms)
    shown, moved, memo = payment.events
    printed = clarity.decode(shown.value)
    assert isinstance(printed, clarity.Tuple)
    assert printed.as_dict()["intent-id"] == clarity.Buffer(digest)
    assert printed.as_dict()["payer"] == clarity.PrincipalValue.parse(PAYER)
    assert moved == events.ft_transfer(SBTC, PAYER, MERCHANT, 9)
    assert memo == events.contract_print(SBTC_CONTRACT, clarity.Buffer(digest))
    assert (payment.function, len(payment.args)) == ("pay-token", 5)
    stx = txs.contract_payment(CONTRACT, PAYER, MERCHANT, asset=None, intent_id=b"i" * 32, **terms)
    assert stx.events[1] == events.stx_transfer(PAYER, MERCHANT, 9, b"i" * 32)
    assert (stx.function, len(stx.args)) == ("pay-stx", 4)


def test_transfer_many_prints_each_memo_right_after_its_transfer() -> None:
    tx = txs.token_transfer_many(PAYER, [(MERCHANT, 1, b"a"), (STRANGER, 2, None), (MERCHANT, 3, b"c")])
    assert [event.kind for event in tx.events] == [
        "ft_asset",
        "contract_log",
        "ft_asset",
        "ft_asset",
        "contract_log",
    ]
    assert tx.result == clarity.encode(clarity.Ok(clarity.UInt(3)))


def test_a_peg_in_is_a_mint_with_the_registrys_print() -> None:
    mint, shown = txs.peg_in(MERCHANT, 400, txid=hashlib.sha256(b"deposit").digest()).events
    assert mint == events.ft_mint(SBTC, MERCHANT, 400)
    assert shown.contract_id == SBTC_CONTRACT.replace("sbtc-token", "sbtc-registry")
    assert 'topic "completed-deposit"' in to_repr(clarity.decode(shown.value))


def test_a_fake_token_differs_only_in_its_contract() -> None:
    fake = txs.fake_token(PAYER, MERCHANT, 50_000, b"INV-1")
    assert fake.events[0].asset.endswith(".fake-token::sbtc-token")
    assert fake.events[1].value == PAY.events[1].value
    assert fake.args == PAY.args


def test_a_status_other_than_success_leaves_the_events_out_and_keeps_the_id() -> None:
    aborted = txs.sbtc_transfer(
        PAYER, MERCHANT, 50_000, memo=b"INV-1", status=TxStatus.ABORT_BY_POST_CONDITION
    )
    assert aborted.tx_id == PAY.tx_id
    assert (aborted.events, aborted.args) == ((), PAY.args)
    assert aborted.result == OK_TRUE
    assert PAY.failed().result == clarity.encode(clarity.Err(clarity.UInt(1)))


def test_an_asset_identifier_must_name_its_contract() -> None:
    with pytest.raises(ValueError, match="asset identifier"):
        txs.sbtc_transfer(PAYER, MERCHANT, 1, asset="sbtc")
    with pytest.raises(ValueError, match="34 bytes"):
        txs.stx_transfer(PAYER, MERCHANT, 1, b"x" * 35)


def test_the_expected_model_holds_what_can_matter_with_the_rank_of_every_event() -> None:
    chain = ScriptedChain()
    other = events.nft_transfer(f"{STRANGER}.art::art", PAYER, STRANGER, clarity.UInt(1))
    odd = txs.call(
        CONTRACT,
        "odd",
        PAYER,
        events=[
            other,
            events.ft_burn(SBTC, PAYER, 1),
            events.stx_mint(PAYER, 1),
            events.stx_burn(PAYER, 1),
            events.ft_mint(SBTC, MERCHANT, 2),
            events.stx_transfer(PAYER, MERCHANT, 3),
            events.contract_print(CONTRACT, b"\xff not Clarity"),
        ],
    )
    stx = txs.stx_transfer(PAYER, MERCHANT, 4, b"m")
    failing = PAY.failed()
    unknown = txs.sbtc_transfer(PAYER, MERCHANT, 8, status="something_else")
    chain.mine([odd, stx, failing, unknown, txs.deploy(f"{PAYER}.thing")], burn=True)
    block = block_model(
        chain.block(chain.tip.height), FetchRules(watched_contracts=frozenset({SBTC_CONTRACT}))
    )
    assert block.header == chain.tip
    first, second, third, fourth = block.transactions
    assert first.events == (
        MintEvent(rank=4, asset=SBTC, recipient=MERCHANT, amount=2),
        TransferEvent(rank=5, asset="STX", sender=PAYER, recipient=MERCHANT, amount=3),
        PrintEvent(rank=6, contract_id=CONTRACT, value=b"\xff not Clarity"),
    )
    assert first.call == ContractCall(contract_id=CONTRACT, function="odd", args=None)
    assert [second.tx_index, second.call] == [3, None]
    assert second.events == (
        TransferEvent(
            rank=0, asset="STX", sender=PAYER, recipient=MERCHANT, amount=4, memo=b"m".ljust(34, b"\0")
        ),
    )
    assert (third.status, third.events) == (TxStatus.ABORT_BY_RESPONSE, ())
    assert third.call == ContractCall(contract_id=SBTC_CONTRACT, function="transfer", args=PAY.args)
    assert fourth.call is None
