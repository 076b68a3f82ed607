"""Alembic's entry: runs the revisions on the connection that :class:`watcher.database.Database` hands over."""

from alembic import context

from notifier.tables import metadata as notifier_metadata
from watcher.tables import metadata as watcher_metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=[watcher_metadata, notifier_metadata],
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
