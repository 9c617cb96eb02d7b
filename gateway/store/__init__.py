"""The only SQL: tables, migrations, the one writer, and what reads the database."""
