"""Orders in SQLite: an order and the event about it are one transaction.

    postrider inbox init shop.db
    python orders_sqlite.py shop.db
"""

import itertools
import json
import sqlite3
import sys


class Declined(Exception):
    """The customer's bank declined the payment."""


def place_order(db: sqlite3.Connection, number: int) -> None:
    event = {
        "type": "track",
        "event": "Order placed",
        "userId": f"customer-{number % 7}",
        "properties": {"number": number},
    }
    with db:  # commits both rows, or none when an exception passes
        db.execute("INSERT INTO orders (number) VALUES (?)", (number,))
        db.execute(
            "INSERT INTO postrider_inbox (source, message, message_id) VALUES (?, ?, ?)",
            ("shop", json.dumps(event), f"order-{number}"),
        )
        charge(number)


def charge(number: int) -> None:
    if number % 5 == 0:
        raise Declined


def main(path: str) -> None:
    db = sqlite3.connect(path, timeout=30)
    db.execute("CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY)")
    (last,) = db.execute("SELECT coalesce(max(number), 0) FROM orders").fetchone()
    for number in itertools.count(last + 1):
        try:
            place_order(db, number)
            print(f"placed {number}", flush=True)
        except Declined:
            print(f"declined {number}", flush=True)


main(sys.argv[1])
