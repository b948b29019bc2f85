"""The board: topics in SQL, a query API and the live page."""
