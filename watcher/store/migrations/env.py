"""Alembic's entry point: runs the revisions on the connection of :class:`watcher.store.database.Database`."""

from alembic import context

from notifier.schema import metadata as notifier_metadata
from watcher.store.node_schema import metadata as node_metadata
from watcher.store.schema import metadata as watcher_metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=[watcher_metadata, node_metadata, notifier_metadata],
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
