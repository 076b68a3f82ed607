"""The tables of the dashboard: who is signed in, links that sign in once, and the log of sign-ins.

Secrets are kept as their SHA-256, which is enough for 256 random bits.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, String, Table, Text

from watcher.store.column_types import Json
from watcher.store.process_schema import metadata

dashboard_session = Table(
    "dashboard_session",
    metadata,
    Column("id", String(40), primary_key=True),
    #: Of the cookie's secret.
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    #: ``api_key``, ``admin_token`` or ``login_link``.
    Column("how", String(16), nullable=False),
    #: Whose session it is; null for an operator's.
    Column("merchant_id", String(40), ForeignKey("merchant.id"), index=True),
    Column("key_id", String(40), ForeignKey("api_key.id")),
    #: HMAC of the admin token by the cookie's secret: another token ends the session.
    Column("admin_mark", LargeBinary(32)),
    #: What it may do: a list of ``read`` and ``write``.
    Column("scopes", Json, nullable=False),
    #: The merchant that an operator looks at; null for all.
    Column("viewed_id", String(40), ForeignKey("merchant.id")),
    Column("address", String(64), nullable=False),
    #: What the browser calls itself.
    Column("agent", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: Not exact: written about once a minute.
    Column("last_used_at", BigInteger, nullable=False),
    #: When it was signed out or revoked.
    Column("ended_at", BigInteger),
)

login_link = Table(
    "login_link",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("merchant_id", String(40), ForeignKey("merchant.id"), nullable=False),
    Column("scopes", Json, nullable=False),
    #: Who made it, as operator actions record it.
    Column("actor", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Index("ix_login_link_created_at", "created_at"),
)

sign_in = Table(
    "sign_in",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("at", BigInteger, nullable=False),
    #: As in a session; what a stranger tried is ``api_key`` or ``admin_token`` by its form.
    Column("how", String(16), nullable=False),
    #: Null for an operator's, and where nobody knows whose it was.
    Column("merchant_id", String(40), ForeignKey("merchant.id")),
    Column("key_id", String(40)),
    #: The session that began; null for an attempt that failed.
    Column("session_id", String(40)),
    #: Why it failed; null for success.
    Column("problem", Text),
    Column("address", String(64), nullable=False),
    Column("agent", Text, nullable=False),
    Index("ix_sign_in_merchant_id_id", "merchant_id", "id"),
)
