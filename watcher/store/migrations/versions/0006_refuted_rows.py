"""Rows that their block does not bear out are kept beside the right ones; a reindex keeps the hashes it followed down.

Revision: 0006
Revises: 0005
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

#: What is unique in each table among the rows that stand.
KEYS = {
    "transfer": ["block_hash", "tx_id", "rank"],
    "attempt": ["block_hash", "tx_id", "intent_id"],
    "refund": ["block_hash", "tx_id", "rank"],
}


def upgrade() -> None:
    stands = sa.text("refuted is null")
    with _strays_aside():
        for table, key in KEYS.items():
            with op.batch_alter_table(table) as batch:
                batch.add_column(sa.Column("refuted", sa.Text(), nullable=True))
                batch.drop_constraint(_constraint(table, key), type_="unique")
            op.create_index(
                f"uq_{table}_block", table, key, unique=True, sqlite_where=stands, postgresql_where=stands
            )
    op.create_table(
        "scan_header",
        sa.Column("scan_id", sa.String(length=40), nullable=False),
        sa.Column("top", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["scan_id"], ["scan.id"], name=op.f("fk_scan_header_scan_id")),
        sa.PrimaryKeyConstraint("scan_id", "top", name=op.f("pk_scan_header")),
    )


def downgrade() -> None:
    op.drop_table("scan_header")
    with _strays_aside():
        for table, key in KEYS.items():
            op.execute(
                sa.table(table, sa.column("refuted")).delete().where(sa.column("refuted").is_not(None))
            )
            op.drop_index(f"uq_{table}_block", table)
            with op.batch_alter_table(table) as batch:
                batch.drop_column("refuted")
                batch.create_unique_constraint(_constraint(table, key), key)


def _constraint(table: str, key: Sequence[str]) -> str:
    return f"uq_{table}_{'_'.join(key)}"


@contextmanager
def _strays_aside() -> Iterator[None]:
    """Empty the table that refers to transfers meanwhile: SQLite changes a table by making it anew."""
    if op.get_bind().dialect.name != "sqlite":
        yield
        return
    op.execute("CREATE TABLE stray_aside AS SELECT * FROM stray")
    op.execute("DELETE FROM stray")
    yield
    op.execute("INSERT INTO stray (key, transfer_id) SELECT key, transfer_id FROM stray_aside")
    op.execute("DROP TABLE stray_aside")
