"""The kernels as Python row functions, as feature stores take them: a dict of inputs for each row,
a dict of outputs back. Prints microseconds for 8,192 rows, the best of several rounds, as JSON.

`arrow` begins and ends with Arrow columns, as the other sides of the comparison do: the table is
made rows (`to_pylist`), the function is called with each, and its answers are made a column
(`pa.array`). `loop` is the calls alone, from lists of Python's own values to lists of them.
"""

import datetime
import json
import math
import time

import pyarrow as pa

ROWS = 8192


def standardize(row):
    x = row["x"]
    return {"z": None if x is None else (x - 37.2) / 11.0}


def natural_log(row):
    x = row["x"]
    return {"log": None if x is None or not x > 0.0 else math.log(x)}


def bucket(row):
    x = row["x"]
    if x is None or math.isnan(x):
        return {"bucket": None}
    width = (9000.0 - 100.0) / 20
    return {"bucket": min(int((min(max(x, 100.0), 9000.0) - 100.0) / width), 19)}


def normalise(row):
    text = row["text"]
    return {"normal": None if text is None else " ".join(text.lower().split())}


def tokens(row):
    text = row["text"]
    if text is None:
        return {"tokens": None}
    words, word = [], []
    for character in text:
        if character.isalnum():
            word.append(character)
        elif word:
            words.append("".join(word).lower())
            word = []
    if word:
        words.append("".join(word).lower())
    return {"tokens": words}


def days_since(row):
    then, now = row["then"], row["event_time"]
    if then is None or now is None:
        return {"days": None}
    return {"days": (now - then) / datetime.timedelta(days=1)}


def column(value):
    return [value(row) if row % 16 != 7 else None for row in range(ROWS)]


def moments(step):
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    micros = datetime.timedelta(microseconds=1)
    return column(lambda row: epoch + (row * step + 1_000_000) * micros)


WORDS = ["Zero skew", "provably", "the SAME bits,", "whichever path", "computed them"]
AMOUNTS = {"x": column(lambda row: row * 1.25 + 0.5)}
TEXTS = {"text": column(lambda row: f"{WORDS[row % 5]} {WORDS[row % 3]} {row}")}
MOMENTS = {"then": moments(60_000_017), "event_time": moments(90_000_077)}

KERNELS = [
    (standardize, AMOUNTS, pa.float64()),
    (natural_log, AMOUNTS, pa.float64()),
    (bucket, AMOUNTS, pa.int64()),
    (normalise, TEXTS, pa.string()),
    (tokens, TEXTS, pa.list_(pa.string())),
    (days_since, MOMENTS, pa.float64()),
]


def loop(function, columns):
    names = list(columns)
    outputs = {}
    for values in zip(*columns.values()):
        for name, value in function(dict(zip(names, values))).items():
            outputs.setdefault(name, []).append(value)
    return outputs


def arrow(function, table, output):
    rows = [value for row in table.to_pylist() for value in function(row).values()]
    return pa.array(rows, output)


def best(run, rounds=7):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times) * 1e6


def measured(function, columns, output):
    table = pa.table(columns)
    return {
        "arrow": best(lambda: arrow(function, table, output)),
        "loop": best(lambda: loop(function, columns)),
    }


print(json.dumps({kernel[0].__name__: measured(*kernel) for kernel in KERNELS}))
