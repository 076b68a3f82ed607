"""Read old blocks again, compare them with the database, and repair it."""
