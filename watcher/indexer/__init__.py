"""The indexer applies the chain to the database: match, settle, enqueue events; one transaction per step."""
