"""What the full-text indexes of SQLite keep about themselves."""

from __future__ import annotations

import sqlite3

# The record that has how much there is in an index.
_AVERAGES = 1


def rows_of(db: sqlite3.Connection, table: str) -> int:
    """How many rows an FTS5 table has.

    That is the first number of a record of its own (`fts5_index.c`: "averages"). Counting them
    would take a millisecond for each 25,000.
    """
    sql = f"SELECT block FROM {table}_data WHERE id = ?"  # noqa: S608
    row = db.execute(sql, (_AVERAGES,)).fetchone()
    number = 0
    # As SQLite writes numbers below 2**56: seven bits in each byte, the highest tells that more
    # come.
    for byte in row[0][:8] if row else b"":
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return number
