"""Events of all merchants, and a merchant's of one type, are listed from indexes.

Revision: 0019
Revises: 0018
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_event_typed", "event", ["merchant", "type", "created_at", "id"])
    op.create_index("ix_event_created", "event", ["created_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_event_created", "event")
    op.drop_index("ix_event_typed", "event")
