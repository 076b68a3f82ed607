"""The scenes: what happens to an order on the chain, and exactly which webhooks its shop must receive."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chain.model import TxStatus
from chain.testing import Tx, principal, txs
from watcher.demo.environment import PAYMENT_CONTRACT
from watcher.demo.runner import SceneRunner

ALICE = principal("alice")
BOB = principal("bob")
CAROL = principal("carol")
MALLORY = principal("mallory")

#: Chain time between two Bitcoin blocks, seconds.
TEN_MINUTES = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A scene's script, and the webhooks that must arrive, by ``words.event_name``."""

    name: str
    title: str
    about: str
    play: Callable[[SceneRunner], Awaitable[None]]
    expects: tuple[str, ...] = ()


async def _memo(runner: SceneRunner) -> None:
    order = await runner.create_order(50_000)
    paid = txs.sbtc_transfer(ALICE, order.recipient, 50_000, runner.memo)
    await runner.mine("alice pays 50,000 sats", [paid])


async def _contract(runner: SceneRunner) -> None:
    await runner.create_order(2_500_000)
    await runner.mine("alice calls pay-token", [_pay_token(runner, ALICE)])
    await runner.mine("a Bitcoin block", burn=True, seconds=TEN_MINUTES)
    await runner.mine("a Bitcoin block", burn=True, seconds=TEN_MINUTES)


async def _stx(runner: SceneRunner) -> None:
    order = await runner.create_order(25_000_000, asset="stx", level="included")
    await runner.mine("bob pays 25 STX", [txs.stx_transfer(BOB, order.recipient, 25_000_000, runner.memo)])


async def _top_up(runner: SceneRunner) -> None:
    order = await runner.create_order(60_000)
    first = txs.sbtc_transfer(ALICE, order.recipient, 45_000, runner.memo)
    await runner.mine("alice pays 45,000 sats", [first])
    second = txs.sbtc_transfer(ALICE, order.recipient, 15_000, runner.memo)
    await runner.mine("alice pays 15,000 sats", [second])


async def _abort(runner: SceneRunner) -> None:
    await runner.create_order(80_000, payer=BOB)
    copied = _pay_token(runner, MALLORY, status=TxStatus.ABORT_BY_RESPONSE)
    await runner.mine("mallory copies bob's call, which aborts", [copied])
    aborted = _pay_token(runner, BOB, status=TxStatus.ABORT_BY_POST_CONDITION)
    await runner.mine("bob's own call aborts on a post-condition", [aborted])


async def _expiry(runner: SceneRunner) -> None:
    await runner.create_order(30_000, expires_in="1h")
    await runner.mine("6 Bitcoin blocks, but no payment", n=6, burn=True, seconds=TEN_MINUTES)
    await runner.mine("2 more: 10 minutes of grace are over", n=2, burn=True, seconds=TEN_MINUTES)


async def _look_alike(runner: SceneRunner) -> None:
    order = await runner.create_order(90_000, expires_in="7d")
    fake = txs.fake_token(MALLORY, order.recipient, 90_000, runner.memo)
    await runner.mine("mallory sends 90,000 units of a homemade “sbtc-token”", [fake])


async def _down(runner: SceneRunner) -> None:
    order = await runner.create_order(70_000)
    runner.fail_next(503, 503)
    paid = txs.sbtc_transfer(ALICE, order.recipient, 70_000, runner.memo)
    await runner.mine("alice pays 70,000 sats", [paid])


async def _unseen(runner: SceneRunner) -> None:
    order = await runner.create_order(3_000_000, expires_in="4h")
    paid = txs.sbtc_transfer(BOB, order.recipient, 3_000_000, runner.memo)
    block = await runner.mine("bob pays 3,000,000 sats", [paid])
    await runner.fork("and the payment with it", block)
    await runner.mine("bob's payment is back", [paid])
    await runner.mine("2 Bitcoin blocks", n=2, burn=True, seconds=TEN_MINUTES)


async def _mined_again(runner: SceneRunner) -> None:
    order = await runner.create_order(40_000)
    paid = txs.sbtc_transfer(ALICE, order.recipient, 40_000, runner.memo)
    block = await runner.mine("alice pays 40,000 sats", [paid])
    await runner.fork("but the payment is back", block, [paid])


async def _taken_back(runner: SceneRunner) -> None:
    order = await runner.create_order(95_000)
    paid = txs.sbtc_transfer(CAROL, order.recipient, 95_000, runner.memo)
    block = await runner.mine("carol pays 95,000 sats", [paid])
    await runner.fork("and the payment with it", block)
    await runner.mine("13 Bitcoin blocks without it", n=13, burn=True, seconds=TEN_MINUTES)


def _pay_token(runner: SceneRunner, payer: str, *, status: str = TxStatus.SUCCESS) -> Tx:
    order = runner.order
    return txs.contract_payment(
        PAYMENT_CONTRACT,
        payer,
        order.recipient,
        order.amount,
        expires_at=order.expires_at,
        salt=order.salt,
        status=status,
    )


SCENES = (
    Scene(
        name="memo",
        title="sBTC transfer with a memo",
        about="The memo holds the order's reference. For a small sum, one block will do.",
        play=_memo,
        expects=("succeeded",),
    ),
    Scene(
        name="contract",
        title="Through the payment contract",
        about="A call that names the order's terms. A larger sum: two Bitcoin blocks.",
        play=_contract,
        expects=("succeeded",),
    ),
    Scene(
        name="stx",
        title="STX transfer",
        about="The same with the chain's own coin.",
        play=_stx,
        expects=("succeeded",),
    ),
    Scene(
        name="top-up",
        title="Underpaid, then topped up",
        about="A partial sum is no success; the rest makes it one.",
        play=_top_up,
        expects=("succeeded",),
    ),
    Scene(
        name="aborted",
        title="An aborted payment",
        about="Only bob may pay: a stranger's abort changes nothing, bob's own does.",
        play=_abort,
        expects=("failed (abort_by_post_condition)",),
    ),
    Scene(
        name="expired",
        title="An order expires",
        about="By the chain's clock: while the chain is stalled, nothing expires.",
        play=_expiry,
        expects=("expired",),
    ),
    Scene(
        name="look-alike",
        title="A look-alike token",
        about="Right memo, amount and token name, but another contract: it is ignored.",
        play=_look_alike,
    ),
    Scene(
        name="down",
        title="The merchant is down twice",
        about="Two attempts fail, the third arrives: signed afresh, same webhook-id.",
        play=_down,
        expects=("succeeded",),
    ),
    Scene(
        name="reorg-before",
        title="A reorg before success",
        about="The payment does not count until it is mined again and deep enough.",
        play=_unseen,
        expects=("succeeded",),
    ),
    Scene(
        name="reorg-again",
        title="A reorg that keeps a payment",
        about="The event already sent stays true, and none is sent twice.",
        play=_mined_again,
        expects=("succeeded",),
    ),
    Scene(
        name="reorg-after",
        title="A reorg after success",
        about="A warning at once; after two hours without the payment, a failure.",
        play=_taken_back,
        expects=("succeeded", "attention (reorged)", "failed (reorged)"),
    ),
)
