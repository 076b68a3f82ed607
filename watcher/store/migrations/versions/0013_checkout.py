"""What payers see of an intent and its merchant, and the secret of the checkout's address.

Every intent gets its secret here, those that exist as well.

Revision: 0013
Revises: 0012
"""

import hashlib
import secrets
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

#: Intents per statement.
_BATCH = 1000


def upgrade() -> None:
    op.add_column("merchant", sa.Column("display_name", sa.Text(), nullable=True))
    op.add_column("merchant", sa.Column("logo_url", sa.Text(), nullable=True))
    op.add_column("merchant", sa.Column("brand_color", sa.String(7), nullable=True))
    op.add_column("merchant", sa.Column("support_url", sa.Text(), nullable=True))
    op.add_column("merchant", sa.Column("allowed_origins", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("intent", sa.Column("description", sa.Text(), nullable=True))
    op.add_column("intent", sa.Column("success_url", sa.Text(), nullable=True))
    op.add_column("intent", sa.Column("cancel_url", sa.Text(), nullable=True))
    op.add_column("intent", sa.Column("checkout_token", sa.String(32), nullable=True))
    op.add_column("intent", sa.Column("checkout_hash", sa.LargeBinary(32), nullable=True))
    _give_tokens(op.get_bind())
    op.create_index("uq_intent_checkout_hash", "intent", ["checkout_hash"], unique=True)


def _give_tokens(connection: sa.Connection) -> None:
    intent = sa.table(
        "intent", sa.column("id"), sa.column("checkout_token"), sa.column("checkout_hash", sa.LargeBinary)
    )
    give = (
        sa.update(intent)
        .where(intent.c.id == sa.bindparam("intent"))
        .values(checkout_token=sa.bindparam("token"), checkout_hash=sa.bindparam("hash"))
    )
    last = ""
    while ids := list(
        connection.scalars(
            sa.select(intent.c.id).where(intent.c.id > last).order_by(intent.c.id).limit(_BATCH)
        )
    ):
        rows = [{"intent": key, "token": secrets.token_urlsafe(16)} for key in ids]
        connection.execute(
            give, [row | {"hash": hashlib.sha256(row["token"].encode()).digest()} for row in rows]
        )
        last = ids[-1]


def downgrade() -> None:
    op.drop_index("uq_intent_checkout_hash", "intent")
    for name in ("checkout_hash", "checkout_token", "cancel_url", "success_url", "description"):
        op.drop_column("intent", name)
    for name in ("allowed_origins", "support_url", "brand_color", "logo_url", "display_name"):
        op.drop_column("merchant", name)
