"""Pages of a table, newest id first, that stay whole while rows are added."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, Table

from watcher.schemas import Page


def fetch_page(
    connection: Connection, query: Select[Any], table: Table, page: Page
) -> tuple[list[Mapping[Any, Any]], str | None]:
    """Return the rows of a page and the cursor of the next one: the last id, None on the last page."""
    if page.cursor is not None:
        query = query.where(table.c.id < page.cursor)
    rows = list(connection.execute(query.order_by(table.c.id.desc()).limit(page.limit + 1)).mappings())
    return list(rows[: page.limit]), rows[page.limit - 1]["id"] if len(rows) > page.limit else None
