"""The board's SQL: tables, migrations, queries."""
