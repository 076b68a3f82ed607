"""The chain into the database: match, settle and enqueue events, one transaction per step."""
