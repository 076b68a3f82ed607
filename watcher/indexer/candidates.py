"""The intents that some transfers may belong to, loaded with one query of each kind."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from watcher.domain.matching import Claim, Label, MatchResult, by_strength, label_keys, match
from watcher.domain.model import Intent
from watcher.store import intents as intent_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The intents of some labels and those of some dedicated recipients."""

    #: The strongest key first.
    labelled: Mapping[Label, Sequence[Intent]]
    dedicated: Mapping[str, Sequence[Intent]]

    @classmethod
    def load(
        cls, connection: Connection, labels: Collection[Label], recipients: Collection[str]
    ) -> "Candidates":
        """Load the intents that match these labels, and those with one of these recipients of their own."""
        keys = {label: label_keys(*label) for label in set(labels)}
        by_key = intent_store.intents_by_label(connection, {key for batch in keys.values() for key in batch})
        return cls(
            labelled={label: by_strength(by_key, batch) for label, batch in keys.items()},
            dedicated=intent_store.dedicated_intents(connection, recipients),
        )

    def match(self, claim: Claim, *, previous: str | None = None, holder: str | None = None) -> MatchResult:
        """Find the intent that a transfer belongs to; its label and its recipient must have been loaded.

        ``previous``: see :func:`watcher.domain.matching.match`. ``holder``: the id of the intent that already
        has the transfer, and keeps it if it still fits.
        """
        labelled, dedicated = self.labelled[claim.label], self.dedicated.get(claim.recipient, ())
        if holder is not None:
            own = [intent for intent in labelled if intent.id == holder]
            own_dedicated = [intent for intent in dedicated if intent.id == holder]
            found = match(claim, labelled=own, dedicated=own_dedicated, previous=previous)
            if found.intent is not None:
                return found
        return match(claim, labelled=labelled, dedicated=dedicated, previous=previous)
