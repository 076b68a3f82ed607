"""When money that pays for nothing calls for attention once more (pure)."""

from collections.abc import Iterable, Sequence

from watcher.domain.coverage import in_order
from watcher.domain.model import Inclusion

#: Events that call attention to surplus money, and as many to late money, while each new payment gets one.
#: Anyone who knows a reference can send dust to it in every block: later ones wait until the money has
#: doubled.
ATTENTION_EVENTS_BEFORE_DOUBLING = 5


def next_subject(money: Iterable[Inclusion], earlier: Sequence[str]) -> str | None:
    """Return the subject of the attention event that is due for money, None if none is.

    There is one for each further payment at first, later only when the money has doubled. The subject names
    the newest payment, the number of others, and their sum; ``earlier`` holds those of the events sent.
    Assigned money needs no attention.
    """
    calling = in_order(inclusion for inclusion in money if not inclusion.assigned)
    if not calling:
        return None
    newest, number, total = calling[-1], len(calling), sum(inclusion.amount for inclusion in calling)
    payment = f"{newest.tx_id}:{newest.rank}+{number - 1}"
    subject = f"{payment}={total}"
    if payment in earlier or subject in earlier:  # the former: from before sums were added
        return None
    if len(earlier) >= ATTENTION_EVENTS_BEFORE_DOUBLING and _grew_little(earlier[-1], number, total):
        return None
    return subject


def _grew_little(subject: str, number: int, total: int) -> bool:
    """Return whether the money of a subject is still there, with neither its number nor its sum doubled."""
    others, _, previous_total = subject.rpartition("+")[2].partition("=")
    if not previous_total:
        return False
    known = int(others) + 1
    return known <= number < 2 * known and int(previous_total) <= total < 2 * int(previous_total)
