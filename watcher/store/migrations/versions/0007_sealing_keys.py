"""The names of the keys that seal webhook secrets: once a database has one, no secret is stored plain again.

Revision: 0007
Revises: 0006
"""

import re
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    made = op.create_table(
        "sealing_key",
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sealing_key")),
    )
    assert made is not None, "only offline mode makes none"
    stored = op.get_bind().execute(
        sa.text("SELECT CAST(secrets AS TEXT) FROM endpoint WHERE CAST(secrets AS TEXT) LIKE '%aes256gcm:%'")
    )
    names = {name for text in stored.scalars() for name in re.findall(r"aes256gcm:([0-9a-f]+):", text)}
    op.bulk_insert(made, [{"name": name} for name in sorted(names)])


def downgrade() -> None:
    op.drop_table("sealing_key")
