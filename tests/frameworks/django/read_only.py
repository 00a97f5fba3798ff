"""What a read-only application can do: see every table, whoever made it, and write nothing."""

import os
import sys

import psycopg
from psycopg import errors

WRITES = [
    "INSERT INTO ledger_entry (account_id, amount, booked_at) SELECT id, 1, now() FROM ledger_account",
    "UPDATE ledger_account SET nickname = 'x'",
    "DELETE FROM ledger_entry",
    "TRUNCATE ledger_entry",
    "INSERT INTO transfers (note) VALUES ('x')",
    "SELECT nextval('transfers_id_seq')",
    "SELECT * FROM ledger_account FOR UPDATE",
    "ALTER TABLE ledger_account ADD COLUMN mine text",
    "CREATE TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE INDEX ON ledger_account (owner)",
    "COPY ledger_account TO PROGRAM 'cat'",
    "DROP TABLE ledger_entry",
]


def main() -> int:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        owners = connection.execute("SELECT owner, nickname FROM ledger_account ORDER BY 1").fetchall()
        assert owners == [("alice", "alice (migrated)"), ("bob", "bob (migrated)")], owners
        connection.execute("SELECT count(*) FROM transfers")
        connection.execute("SELECT count(*) FROM django_migrations")
        for write in WRITES:
            try:
                connection.execute(write)
            except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction):
                continue
            print(f"a read-only application was allowed to: {write}", file=sys.stderr)
            return 1
        # A session may lift its own default; privileges must hold without it.
        connection.execute("SET default_transaction_read_only = off")
        for write in WRITES:
            try:
                connection.execute(write)
            except errors.InsufficientPrivilege:
                continue
            print(f"privileges alone would allow: {write}", file=sys.stderr)
            return 1
    print(f"sees 3 tables, was refused {len(WRITES)} kinds of writes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
