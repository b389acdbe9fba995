#!/usr/bin/env python3
"""Makes data/churn_examples.parquet: the same bytes' worth of rows at every run.

Each row asks: what was known about a customer at some moment, and did the customer buy again in
the 90 days after it? Needs pyarrow.
"""

from bisect import bisect_right
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 6_000
DATA = Path(__file__).parent / "data"
# Every customer has bought by the first moment, and the 90 days after the last one are known.
FIRST = datetime(1997, 4, 1, tzinfo=timezone.utc)
LAST = datetime(1998, 3, 31, tzinfo=timezone.utc)
HORIZON = timedelta(days=90)
MICROSECOND = timedelta(microseconds=1)


def purchases_by_customer():
    orders = pq.read_table(DATA / "cdnow.parquet", columns=["customer_id", "ordered_at"])
    purchases = {}
    for order in sorted(zip(*(column.to_pylist() for column in orders.columns))):
        purchases.setdefault(order[0], []).append(order[1])
    return purchases


def examples():
    purchases = purchases_by_customer()
    customers = sorted(purchases)
    # Random.random() is the one method whose sequence Python promises not to change.
    random = Random(1997).random
    for _ in range(ROWS):
        customer = customers[int(random() * len(customers))]
        moment = FIRST + int(random() * ((LAST - FIRST) // MICROSECOND)) * MICROSECOND
        history = purchases[customer]
        following = bisect_right(history, moment + HORIZON) - bisect_right(history, moment)
        yield {"customer_id": customer, "event_timestamp": moment, "bought_again": following > 0}


def main():
    schema = pa.schema(
        [
            ("customer_id", pa.int64()),
            ("event_timestamp", pa.timestamp("us", tz="UTC")),
            ("bought_again", pa.bool_()),
        ]
    )
    table = pa.Table.from_pylist(list(examples()), schema)
    pq.write_table(table, DATA / "churn_examples.parquet", compression="zstd")


if __name__ == "__main__":
    main()
