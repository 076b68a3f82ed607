"""Log lines of what the indexer has committed: steps, and intents that were settled."""

from chain.model import Step
from watcher.indexer.ledger import StepResult
from watcher.indexer.settle_result import SettleResult
from watcher.log import get_logger

log = get_logger(__name__)


def log_step(step: Step, applied: StepResult) -> None:
    """Log a step, and the status changes in its transaction."""
    log.info(
        "step.applied",
        kind=type(step).__name__.lower(),
        height=applied.clock.height,
        burn_height=applied.clock.burn_height,
        blocks=applied.blocks,
        orphaned=applied.orphaned_blocks,
        transfers=applied.transfers,
        events=applied.settled.events,
    )
    log_settled(applied.settled)


def log_settled(settled: SettleResult) -> None:
    """Log the status changes of a transaction that settled intents."""
    for intent, before, after in settled.transitions:
        log.info("intent.moved", intent=intent, before=before, after=after)
    for intent in settled.reversed:
        log.critical(
            "payment.reversed", intent=intent, hint="the chain dropped money that was reported as paid"
        )
