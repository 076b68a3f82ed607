"""What concerns the stored intents, for sources of which only that is read: recipients and labels."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from contracts.model import PaymentRules
from contracts.networks import asset_contract
from contracts.prints import read_memo_print
from watcher.concurrency import run_in_thread
from watcher.domain.matching import label_keys
from watcher.store import intents as intent_store
from watcher.store import transfers as transfer_store
from watcher.store.database import Database

#: More watched recipients than this are not looked up one by one, as a small budget would be used up by that;
#: every transaction is read then.
MAX_RECIPIENTS: Final = 20


class StoredInterests:
    """The ``Interests`` of the database's intents; reads it at each call, in a thread."""

    def __init__(self, database: Database, rules: PaymentRules) -> None:
        self._database = database
        self._payment_contract = rules.payment_contract
        self.assets = rules.assets
        tokens = {contract for asset in rules.assets if (contract := asset_contract(asset)) is not None}
        self.contracts = frozenset(
            tokens | ({rules.payment_contract} if rules.payment_contract is not None else set())
        )

    async def recipients(self) -> frozenset[str] | None:
        """The watched principals; None for more than ``MAX_RECIPIENTS``, or without the database."""
        try:
            found = await run_in_thread(self._recipients)
        except SQLAlchemyError:
            # The commit of what is read will tell.
            return None
        return None if len(found) > MAX_RECIPIENTS else found

    async def stored(self, tx_ids: frozenset[str]) -> frozenset[str]:
        """Those of these transactions of which a transfer is stored."""
        try:
            return await run_in_thread(self._stored, tx_ids) if tx_ids else frozenset()
        except SQLAlchemyError:
            return frozenset()

    async def labelled(self, contract: str, prints: Mapping[str, Sequence[bytes]]) -> frozenset[str]:
        """Those of the transactions whose memo an intent has; of the payment contract, all of them."""
        if contract == self._payment_contract:
            return frozenset(prints)
        keys: dict[str, set[str]] = {}
        for tx_id, values in prints.items():
            for value in values:
                for key in label_keys(read_memo_print(value), None):
                    keys.setdefault(key, set()).add(tx_id)
        if not keys:
            return frozenset()
        try:
            known = await run_in_thread(self._known, frozenset(keys))
        except SQLAlchemyError:
            return frozenset(prints)
        return frozenset(tx_id for key in known for tx_id in keys[key])

    def _recipients(self) -> frozenset[str]:
        with self._database.read() as connection:
            return intent_store.watched_principals(connection, limit=MAX_RECIPIENTS + 1)

    def _stored(self, tx_ids: frozenset[str]) -> frozenset[str]:
        with self._database.read() as connection:
            return transfer_store.canonical_among(connection, tx_ids)

    def _known(self, keys: frozenset[str]) -> frozenset[str]:
        with self._database.read() as connection:
            return intent_store.known_labels(connection, keys)
