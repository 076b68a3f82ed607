"""Labels in the form that is compared now: without zero bytes at both ends, and texts without what surrounds them.

Intents whose terms hash begins with a zero byte answer to another key now, and money that came with a newline or a byte
order mark after its reference speaks labels that it did not speak before.

Revision: 0002
Revises: 0001
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from watcher.domain.matching import label_keys

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

#: Rows that are read at a time.
_BATCH = 1000

_LABEL = sa.table("label", sa.column("key"), sa.column("intent_id"))
_STRAY = sa.table("stray", sa.column("key"), sa.column("transfer_id"))
_TRANSFER = sa.table(
    "transfer", sa.column("id"), sa.column("intent_id"), sa.column("memo"), sa.column("terms_hash")
)


def upgrade() -> None:
    connection = op.get_bind()
    old = sa.select(_LABEL.c.key, _LABEL.c.intent_id).where(_LABEL.c.key.like("t:00%"))
    for key, intent_id in connection.execute(old).all():
        [new] = label_keys(None, bytes.fromhex(key.removeprefix("t:")))
        where = (_LABEL.c.key == key) & (_LABEL.c.intent_id == intent_id)
        connection.execute(sa.update(_LABEL).where(where).values(key=new))
    connection.execute(sa.delete(_STRAY))
    last = ""
    while True:
        unmatched = (
            sa.select(_TRANSFER.c.id, _TRANSFER.c.memo, _TRANSFER.c.terms_hash)
            .where(_TRANSFER.c.intent_id.is_(None), _TRANSFER.c.id > last)
            .order_by(_TRANSFER.c.id)
            .limit(_BATCH)
        )
        rows = connection.execute(unmatched).all()
        if not rows:
            return
        last = rows[-1].id
        keys = [
            {"key": key, "transfer_id": row.id}
            for row in rows
            for key in label_keys(_bytes(row.memo), _bytes(row.terms_hash))
        ]
        if keys:
            connection.execute(sa.insert(_STRAY), keys)


def downgrade() -> None:
    """Leave the keys: the older program finds all but those of hashes that begin with a zero byte."""


def _bytes(value: object) -> bytes | None:
    return None if value is None else bytes(value)  # type: ignore[call-overload]
