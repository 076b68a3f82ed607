"""Pages for payers: HTML from the documents of the public interface, without a word of the database."""
