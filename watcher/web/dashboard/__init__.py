"""The dashboard's pages, made of documents."""
