"""Training datasets and row transforms against DuckDB and Polars, on the same Parquet files.

    make bench-offline                         # 1M entity rows, tables of 3M, 1M and 3M rows
    ROWS=10000000 make bench-offline           # 10M entity rows, tables of 30M, 5M and 20M rows
    MEMORY=1GB ROWS=10000000 make bench-offline

Every engine is a process of its own that reads the files and writes one Parquet file (zstd); what
is measured is the wall time and the greatest resident memory of that process, in turns, the least
of RUNS runs. Then the results are compared: every row at up to a million, every 97th above.

The row transform is compared with DuckDB's SQL, and with the same function of a row in Python: in a
plain loop, in pandas' DataFrame.apply(axis=1), and in an on-demand feature view of Feast's, as Feast
calls it offline (the function gets lists) and row by row. In Python it is run over fewer rows, within
one process that has imported everything; reading and writing are part of it everywhere.

The point-in-time join has what training data has: feature rows in no order, written down later than
they happened, 1 % of them a correction of another row (same key, same time, written down later), a
ttl for two of the three views. DuckDB's ASOF JOIN takes any of several rows with one time, so that
its query chooses among them first. Neither DuckDB nor Polars is asked to keep the order of the
entity rows, which unskew does.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
CHUNK = 1_000_000
DAY = 86_400_000_000
START = 1_704_067_200_000_000  # 2024-01-01, in microseconds
SPAN = 365 * DAY
COUNTRIES = ["de", "fr", "us", "gb", "nl", "se", "jp", "br"]

# View: keys, features, ttl in days.
VIEWS = {
    "user_stats": (["user_id"], ["orders", "spend", "score", "segment"], 30),
    "product_stats": (["product_id"], ["price", "stock", "rating"], None),
    "user_product": (["user_id", "product_id"], ["views", "affinity"], 90),
}
FEATURES = [f"{view}__{feature}" for view, (_, features, _) in VIEWS.items() for feature in features]

# Of so many entity rows: the rows of the three tables.
TABLE_ROWS = {10_000_000: (30_000_000, 5_000_000, 20_000_000)}


def table_rows(rows):
    return TABLE_ROWS.get(rows, (3 * rows, rows, 3 * rows))


# --- data ---------------------------------------------------------------------------------------


def timestamps(micros):
    return pa.array(micros, pa.timestamp("us", tz="UTC"))


def write(path, rows, chunk):
    """Writes `rows` rows, as many at a time as `chunk` is asked for, under the name when complete."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    writer = None
    for first in range(0, rows, CHUNK):
        table = chunk(first, min(CHUNK, rows - first))
        writer = writer or pq.ParquetWriter(part, table.schema, compression="snappy")
        writer.write_table(table, row_group_size=CHUNK)
    writer.close()
    part.rename(path)


def keys(random, rows, names, users, products):
    """Some keys come far more often than others; a user is seen with twenty products at most."""
    columns = {}
    if "user_id" in names:
        columns["user_id"] = (users * random.random(rows) ** 2).astype(np.int64)
    if "product_id" in names:
        products_seen = (20 * random.random(rows) ** 2).astype(np.int64)
        columns["product_id"] = (
            (columns["user_id"] * 31 + products_seen) % products
            if "user_id" in columns
            else (products * random.random(rows) ** 3).astype(np.int64)
        )
    return columns


def columns_of(view, random, rows):
    segments = np.array([f"segment-{n:03}" for n in range(200)])
    if view == "user_stats":
        return {
            "orders": random.integers(0, 500, rows),
            "spend": np.round(random.random(rows) * 1000, 2),
            "score": random.random(rows),
            "segment": segments[random.integers(0, len(segments), rows)],
        }
    if view == "product_stats":
        return {
            "price": np.round(random.random(rows) * 100, 2),
            "stock": random.integers(0, 10_000, rows),
            "rating": random.random(rows) * 5,
        }
    return {"views": random.integers(0, 50, rows), "affinity": random.random(rows)}


def generate(folder, rows):
    users, products = max(rows // 10, 10), max(rows // 1000, 10)

    def entities(first, count):
        random = np.random.default_rng([1, first])
        return pa.table(
            {
                "row_id": np.arange(first, first + count),
                **keys(random, count, ["user_id", "product_id"], users, products),
                "event_timestamp": timestamps(START + random.integers(0, SPAN, count)),
                "label": random.random(count) < 0.1,
            }
        )

    write(folder / "entities.parquet", rows, entities)
    for number, (view, count) in enumerate(zip(VIEWS, table_rows(rows))):

        def chunk(first, count, view=view, number=number):
            random = np.random.default_rng([2 + number, first])
            table = keys(random, count, VIEWS[view][0], users, products)
            event = START - 30 * DAY + random.integers(0, SPAN + 30 * DAY, count)
            created = event + random.integers(0, DAY, count)
            # The last row in a hundred corrects the one before it.
            corrections = np.arange(99, count, 100)
            for column in [*table.values(), event, created]:
                column[corrections] = column[corrections - 1]
            created[corrections] += 1 + random.integers(0, DAY, len(corrections))
            return pa.table(
                {
                    **table,
                    "event_timestamp": timestamps(event),
                    "created": timestamps(created),
                    **columns_of(view, random, count),
                }
            )

        write(folder / f"{view}.parquet", count, chunk)


def generate_lines(folder, rows):
    """The rows for the transform: four columns, of which a hundredth is null."""

    def chunk(first, count):
        random = np.random.default_rng([9, first])
        null = lambda: random.random(count) < 0.01
        countries = np.array(COUNTRIES)[random.integers(0, len(COUNTRIES), count)]
        skus = np.char.add("sku-", random.integers(0, 1_000_000, count).astype(str))
        return pa.table(
            {
                "items": pa.array(random.integers(1, 40, count), mask=null()),
                "amount": pa.array(np.round(random.random(count) * 500, 2), mask=null()),
                "country": pa.array(countries, mask=null()),
                "sku": pa.array(skus, mask=null()),
            }
        )

    write(folder / "lines.parquet", rows, chunk)


# --- the engines --------------------------------------------------------------------------------


def duckdb_join(folder, output):
    import duckdb

    joined = "SELECT e.* FROM read_parquet('{}/entities.parquet') e".format(folder)
    for view, (names, features, ttl) in VIEWS.items():
        by = ", ".join(names)
        newest = ", ".join(f"arg_max({feature}, created) AS {feature}" for feature in features)
        alive = "true" if ttl is None else f"l.event_timestamp - f.event_timestamp <= INTERVAL '{ttl} days'"
        picked = ", ".join(f"CASE WHEN {alive} THEN f.{f} END AS {view}__{f}" for f in features)
        on = " AND ".join(f"l.{name} = f.{name}" for name in names)
        joined = f"""
            SELECT l.*, {picked} FROM ({joined}) l ASOF LEFT JOIN (
                SELECT {by}, event_timestamp, {newest}
                FROM read_parquet('{folder}/{view}.parquet') GROUP BY {by}, event_timestamp
            ) f ON {on} AND l.event_timestamp >= f.event_timestamp"""
    database = duckdb.connect(config={"temp_directory": f"{output}.tmp"})
    database.sql("SET preserve_insertion_order = false")
    database.sql(f"COPY ({joined}) TO '{output}' (FORMAT parquet, COMPRESSION zstd)")


def polars_join(folder, output):
    import polars as pl

    joined = pl.scan_parquet(f"{folder}/entities.parquet").sort("event_timestamp")
    for view, (names, features, ttl) in VIEWS.items():
        rows = pl.scan_parquet(f"{folder}/{view}.parquet").sort("event_timestamp", "created")
        rows = rows.select(*names, "event_timestamp", *(pl.col(f).alias(f"{view}__{f}") for f in features))
        joined = joined.join_asof(
            rows,
            on="event_timestamp",
            by=names,
            strategy="backward",
            tolerance=None if ttl is None else f"{ttl}d",
            check_sortedness=False,
        )
    joined.sink_parquet(output, compression="zstd")


def unskew_join(unskew, folder, output, memory):
    project = folder / "project"
    if not (project / "registry").exists():
        (project / "features").mkdir(parents=True, exist_ok=True)
        (project / "unskew.toml").write_text('[project]\nname = "bench"\n')
        (project / "features/bench.toml").write_text(definitions(folder))
        subprocess.run([unskew, "--project", project, "apply"], check=True, stdout=sys.stderr)
    limit = ["--memory-limit", memory] if memory else []
    return [
        unskew, "--project", project, "training-set", "--entities", folder / "entities.parquet",
        "--service", "all", "--full-feature-names", "--output", output, *limit,
    ]  # fmt: skip


def definitions(folder):
    types = {
        "orders": "int64", "spend": "float64", "score": "float64", "segment": "utf8", "price": "float64",
        "stock": "int64", "rating": "float64", "views": "int64", "affinity": "float64",
    }  # fmt: skip
    text = '[entity.user]\njoin_keys = { user_id = "int64" }\n[entity.product]\njoin_keys = { product_id = "int64" }\n'
    for view, (names, features, ttl) in VIEWS.items():
        entities = json.dumps([name.removesuffix("_id") for name in names])
        text += f'[source.{view}]\npath = "{folder}/{view}.parquet"\ntimestamp = "event_timestamp"\ncreated = "created"\n'
        text += f'[feature_view.{view}]\nentities = {entities}\nsource = "{view}"\n'
        text += f'ttl = "{ttl}d"\n' if ttl else ""
        text += f"[feature_view.{view}.features]\n" + "".join(f'{f} = "{types[f]}"\n' for f in features)
    return text + f"[feature_service.all]\nfeatures = {json.dumps(list(VIEWS))}\n"


# What the transform `commerce/basket#line` computes, in SQL and in Python. Null in, null out.
LINE = ["unit_price", "with_tax", "market", "shelf"]


def duckdb_transform(folder, output):
    import duckdb

    every = "items IS NOT NULL AND amount IS NOT NULL AND country IS NOT NULL AND sku IS NOT NULL"
    values = [
        "amount / items",
        "amount * CASE country WHEN 'us' THEN 1.0 WHEN 'jp' THEN 1.1 ELSE 1.2 END",
        "upper(country) || CASE WHEN items >= 20 THEN ':bulk' ELSE ':retail' END",
        "substr(sku, 5, 2) || '/' || sku",
    ]
    picked = ", ".join(f"CASE WHEN {every} THEN {value} END AS {name}" for value, name in zip(values, LINE))
    lines = f"read_parquet('{folder}/lines.parquet')"
    duckdb.sql(f"COPY (SELECT *, {picked} FROM {lines}) TO '{output}' (FORMAT parquet, COMPRESSION zstd)")


def python_row(items, amount, country, sku):
    if items is None or amount is None or country is None or sku is None:
        return None, None, None, None
    tax = {"us": 1.0, "jp": 1.1}.get(country, 1.2)
    market = country.upper() + (":bulk" if items >= 20 else ":retail")
    return amount / items, amount * tax, market, sku[4:6] + "/" + sku


def first_lines(folder, rows):
    return pq.ParquetFile(folder / "lines.parquet").read_row_group(0).slice(0, rows)


def write_lines(table, columns, output):
    for name, column in zip(LINE, columns):
        table = table.append_column(name, column)
    pq.write_table(table, output, compression="zstd")


def python_loop(folder, output, rows):
    """As one writes it first: a function of a row, over the rows."""
    table = first_lines(folder, rows)
    results = [python_row(*row.values()) for row in table.to_pylist()]
    write_lines(table, [pa.array(column) for column in zip(*results)], output)


def pandas_apply(folder, output, rows):
    """The row function of pandas: DataFrame.apply with axis=1."""
    import pandas as pd

    def row(line):
        values = (line["items"], line["amount"], line["country"], line["sku"])
        return python_row(*(None if pd.isna(value) else value for value in values))

    table = first_lines(folder, rows)
    results = table.to_pandas().apply(row, axis=1, result_type="expand")
    write_lines(table, [pa.array(results[place], from_pandas=True) for place in range(4)], output)


def feast_view(function, singleton):
    """The row function as an on-demand feature view of Feast's, with mode="python"."""
    from feast import Field, RequestSource
    from feast.on_demand_feature_view import on_demand_feature_view
    from feast.types import Float64, Int64, String

    inputs = {"items": Int64, "amount": Float64, "country": String, "sku": String}
    outputs = dict(zip(LINE, [Float64, Float64, String, String]))
    fields = lambda types: [Field(name=name, dtype=dtype) for name, dtype in types.items()]
    source = RequestSource(name="lines", schema=fields(inputs))
    return on_demand_feature_view(
        sources=[source], schema=fields(outputs), mode="python", singleton=singleton
    )(function)


def feast_columns(folder, output, rows):
    """What Feast calls offline: transform_arrow, whose function gets all rows as lists."""

    def line(inputs):
        columns = inputs["items"], inputs["amount"], inputs["country"], inputs["sku"]
        return dict(zip(LINE, map(list, zip(*map(python_row, *columns)))))

    view = feast_view(line, singleton=False)
    table = first_lines(folder, rows)
    made = view.transform_arrow(table)
    write_lines(table, [made[name] for name in LINE], output)


def feast_rows(folder, output, rows):
    """What Feast calls a function of one row with (singleton=True): transform_dict, for each row.

    Its transform_arrow hands such a function whole columns, so that it cannot be called offline.
    """

    def line(inputs):
        return dict(zip(LINE, python_row(inputs["items"], inputs["amount"], inputs["country"], inputs["sku"])))

    view = feast_view(line, singleton=True)
    table = first_lines(folder, rows)
    lists = ({name: [value] for name, value in row.items()} for row in table.to_pylist())
    results = [view.transform_dict(row) for row in lists]
    write_lines(table, [pa.array([row[name] for row in results]) for name in LINE], output)


# Ways to run the row function in Python, and how many rows each gets at the most.
ROW_FUNCTIONS = {
    "python loop": (python_loop, 300_000),
    "pandas apply": (pandas_apply, 100_000),
    "feast columns": (feast_columns, 300_000),
    "feast rows": (feast_rows, 100_000),
}


def unskew_transform(unskew, folder, output, memory):
    project = folder / "lines-project"
    if not (project / "registry").exists():
        project.mkdir(parents=True, exist_ok=True)
        (project / "unskew.toml").write_text('[project]\nname = "bench"\n')
        basket = REPOSITORY / "transforms/basket"
        subprocess.run([unskew, "--project", project, "transform", "publish", basket], check=True, stdout=sys.stderr)
    limit = ["--memory-limit", memory] if memory else []
    return [
        unskew, "--project", project, "transform", "run", "commerce/basket@1.0.0#line",
        "--input", folder / "lines.parquet", "--output", output, *limit,
    ]  # fmt: skip


# --- measuring ----------------------------------------------------------------------------------


def measure(command):
    """Runs a command; gives its wall time, its processor time in seconds, and its peak memory in GB."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))} failed with status {status}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def rounds(commands, runs):
    """The runs in turns, so that whatever else the machine does befalls all alike; the least of each."""
    measured = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            measured[name].append(measure(command))
            sys.stderr.write(f"  {name}: {measured[name][-1][0]:.2f} s\n")
    return {name: (min(m)[0], min(m[1] for m in m), max(m[2] for m in m)) for name, m in measured.items()}


def sorted_columns(path, names, key, rows):
    table = pq.read_table(path, columns=[key, *names])
    if rows > 1_000_000:
        table = table.filter(pa.array(table[key].to_numpy() % 97 == 0))
    return table.sort_by(key)


def same_columns(one, other, names):
    """Equal in every value and null; floats by their bits."""
    for name in names:
        a, b = (table[name].combine_chunks() for table in (one, other))
        if pa.types.is_large_string(a.type) or pa.types.is_string_view(a.type):
            a = a.cast(pa.string())
        if pa.types.is_large_string(b.type) or pa.types.is_string_view(b.type):
            b = b.cast(pa.string())
        if not a.equals(b.cast(a.type)):
            differ = sum(x != y for x, y in zip(a.to_pylist(), b.to_pylist()))
            sys.exit(f"not equal: {differ} of {len(a)} rows differ in {name}")


def show(title, rows, measured):
    print(f"\n{title}\n{'':14} {'wall s':>8} {'cpu s':>8} {'peak GB':>8} {'M rows/s':>9} {'x unskew':>9}")
    for name, (wall, cpu, peak) in measured.items():
        speed, ratio = rows / wall / 1e6, wall / measured["unskew"][0]
        print(f"{name:14} {wall:8.2f} {cpu:8.2f} {peak:8.2f} {speed:9.2f} {ratio:9.2f}")


def bench_join(arguments, folder):
    rows = arguments.rows
    generate(folder, rows)
    outputs = {name: folder / f"{name}.out.parquet" for name in ["unskew", "duckdb", "polars"]}
    engine = lambda name: [sys.executable, __file__, "--engine", name, "--folder", folder, "--output", outputs[name]]
    commands = {"unskew": unskew_join(arguments.unskew, folder, outputs["unskew"], arguments.memory)}
    commands |= {name: engine(name) for name in arguments.against}
    measured = rounds(commands, arguments.runs)
    results = {name: sorted_columns(outputs[name], FEATURES, "row_id", rows) for name in commands}
    order = pq.read_table(outputs["unskew"], columns=["row_id"])["row_id"].to_numpy()
    if not (order == np.arange(rows)).all():
        sys.exit("the rows are not in the order of the entity dataframe")
    for name in arguments.against:
        same_columns(results["unskew"], results[name], FEATURES)
    tables = " + ".join(f"{count:,}" for count in table_rows(rows))
    limit = f", within {arguments.memory}" if arguments.memory else ""
    show(f"point-in-time join: {rows:,} entity rows, tables of {tables}{limit}", rows, measured)
    compared = results["unskew"]
    matched = sum(len(compared[name]) - compared[name].null_count for name in FEATURES)
    share = matched / max(1, len(FEATURES) * len(compared))
    print(f"equal in {len(compared):,} rows x {len(FEATURES)} features, {share:.0%} of them not null")


def bench_transform(arguments, folder):
    rows = arguments.lines
    generate_lines(folder, rows)
    out = lambda name: folder / f"{name}.lines.parquet"
    engine = [sys.executable, __file__, "--engine", "duckdb-transform", "--folder", folder, "--output", out("duckdb")]
    commands = {"unskew": unskew_transform(arguments.unskew, folder, out("unskew"), arguments.memory), "duckdb": engine}
    measured = rounds(commands, arguments.runs)
    ours = pq.read_table(out("unskew"), columns=LINE)
    same_columns(ours, pq.read_table(out("duckdb"), columns=LINE), LINE)
    for name, (run, most) in ROW_FUNCTIONS.items():
        few = min(rows, most)
        run(folder, out(name), 100)  # What it imports is no part of what it costs.
        seconds = []
        for _ in range(arguments.runs):
            begin = time.perf_counter()
            run(folder, out(name), few)
            seconds.append(time.perf_counter() - begin)
        same_columns(ours.slice(0, few), pq.read_table(out(name), columns=LINE), LINE)
        scaled = min(seconds) / few * rows
        measured[name] = (scaled, scaled, float("nan"))
    show(f"row transform: {rows:,} rows, 4 columns in, 4 out (row functions in Python: scaled from the first rows)", rows, measured)
    print(f"equal in every value: {rows:,} rows x {len(LINE)} columns; in Python those that were run")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--unskew", type=pathlib.Path, help="the binary")
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="where the data is kept")
    parser.add_argument("--rows", type=int, default=1_000_000, help="entity rows; 0 leaves the join out")
    parser.add_argument("--lines", type=int, default=1_000_000, help="rows of the transform; 0 leaves it out")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", default="", help="unskew's --memory-limit")
    parser.add_argument("--against", default="duckdb,polars", type=lambda text: [n for n in text.split(",") if n])
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    engines = {"duckdb": duckdb_join, "polars": polars_join, "duckdb-transform": duckdb_transform}
    if arguments.engine:
        return engines[arguments.engine](arguments.folder, arguments.output)
    if arguments.rows:
        bench_join(arguments, arguments.folder.absolute() / str(arguments.rows))
    if arguments.lines:
        bench_transform(arguments, arguments.folder.absolute() / f"lines-{arguments.lines}")


if __name__ == "__main__":
    main()
