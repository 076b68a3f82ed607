"""Payment links, what was started from them, and who looked; each intent's link.

The counters of days count also the intents that expired without any money, those that are stored as well.

Revision: 0018
Revises: 0017
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

#: As in the first revision.
_AMOUNT = sa.Numeric(48, 0).with_variant(sa.String(48), "sqlite")

_COUNTERS = ("created", "succeeded", "failed", "expired", "canceled", "paid")


def upgrade() -> None:
    op.create_table(
        "payment_link",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("merchant_id", sa.String(40), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("amount", _AMOUNT, nullable=True),
        sa.Column("min_amount", _AMOUNT, nullable=True),
        sa.Column("max_amount", _AMOUNT, nullable=True),
        sa.Column("asset", sa.String(64), nullable=True),
        sa.Column("prices", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("max_uses", sa.BigInteger(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("level", sa.Text(), nullable=True),
        sa.Column("recipient", sa.String(200), nullable=True),
        sa.Column("success_url", sa.Text(), nullable=True),
        sa.Column("cancel_url", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        _belongs_to("payment_link", "merchant_id", "merchant"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_link")),
    )
    op.create_index("uq_payment_link_code", "payment_link", ["code"], unique=True)
    op.create_index("ix_payment_link_merchant", "payment_link", ["merchant_id", "id"])
    op.create_table(
        "payment_link_day",
        sa.Column("link_id", sa.String(40), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("asset", sa.String(64), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTERS),
        sa.Column("received", _AMOUNT, nullable=False),
        sa.Column("abandoned", sa.BigInteger(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("link_id", "day", "asset", name=op.f("pk_payment_link_day")),
    )
    op.create_table(
        "payment_link_start",
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("intent_id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        _belongs_to("payment_link_start", "intent_id", "intent"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_payment_link_start")),
    )
    for column in ("intent_id", "created_at"):
        op.create_index(op.f(f"ix_payment_link_start_{column}"), "payment_link_start", [column])
    op.create_table(
        "payment_link_view",
        sa.Column("link_id", sa.String(40), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("views", sa.BigInteger(), nullable=False),
        _belongs_to("payment_link_view", "link_id", "payment_link"),
        sa.PrimaryKeyConstraint("link_id", "day", name=op.f("pk_payment_link_view")),
    )
    op.create_table(
        "visitor_key",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_visitor_key")),
    )
    op.create_table(
        "visitor",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(16), nullable=False),
        sa.PrimaryKeyConstraint("day", "hash", name=op.f("pk_visitor")),
    )
    op.add_column("intent", sa.Column("payment_link", sa.String(40), nullable=True))
    op.create_index(
        "ix_intent_payment_link",
        "intent",
        ["payment_link", "id"],
        sqlite_where=sa.text("payment_link is not null"),
        postgresql_where=sa.text("payment_link is not null"),
    )
    op.add_column("day_count", sa.Column("abandoned", sa.BigInteger(), nullable=False, server_default="0"))
    _count_abandoned(op.get_bind())


def _count_abandoned(connection: sa.Connection) -> None:
    """Count the stored intents that expired without any money, each on the day of its creation."""
    day: sa.ColumnElement[int] = sa.literal_column("created_at / 86400")
    intent = sa.table(
        "intent",
        *(sa.column(name) for name in ("merchant_id", "asset", "status")),
        sa.column("received", _AMOUNT),
    )
    nothing = "0" * 48 if connection.dialect.name == "sqlite" else 0
    found = connection.execute(
        sa.select(intent.c.merchant_id, intent.c.asset, day.label("day"), sa.func.count().label("number"))
        .where(intent.c.status == "expired", intent.c.received == nothing)
        .group_by(intent.c.merchant_id, intent.c.asset, day)
    ).all()
    count = sa.table("day_count", *(sa.column(name) for name in ("merchant_id", "day", "asset", "abandoned")))
    change = (
        sa.update(count)
        .where(
            count.c.merchant_id == sa.bindparam("merchant"),
            count.c.day == sa.bindparam("on"),
            count.c.asset == sa.bindparam("of"),
        )
        .values(abandoned=sa.bindparam("number"))
    )
    if found:
        connection.execute(
            change,
            [
                {"merchant": row.merchant_id, "on": row.day, "of": row.asset, "number": row.number}
                for row in found
            ],
        )


def _belongs_to(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))


def downgrade() -> None:
    op.drop_column("day_count", "abandoned")
    op.drop_index("ix_intent_payment_link", "intent")
    op.drop_column("intent", "payment_link")
    for table in (
        *("visitor", "visitor_key", "payment_link_view", "payment_link_start", "payment_link_day"),
        "payment_link",
    ):
        op.drop_table(table)
