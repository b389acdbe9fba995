"""What it costs to materialize 1,000,000 rows of 5 features, beside Feast's local engine.

    make bench-materialize

All in one run on one machine, into the embedded store (Feast: SQLite, its default) and into one
Redis. Feast gets fewer rows, since its rate does not depend on how many there are and it would take
minutes. The bare limit is a client that does nothing but send commands of the same bytes, many at
a time.
"""

import argparse
import contextlib
import datetime
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy
import pyarrow
import pyarrow.parquet

FEATURES = 5
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
END = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)

DEFINITIONS = """
[entity.customer]
join_keys = { customer_id = "int64" }

[source.stats]
path = "stats"
timestamp = "event_timestamp"
created = "created"

[feature_view.stats]
entities = ["customer"]
source = "stats"
[feature_view.stats.features]
"""


def write_rows(folder, rows, files=4):
    """Rows of as many entities, in no order, in some files."""
    folder.mkdir(parents=True)
    random = numpy.random.default_rng(7)
    ids = random.permutation(rows).astype("int64")
    start = int(START.timestamp() * 1e6)
    times = start + random.integers(0, 50 * 86_400_000_000, rows)
    stamp = pyarrow.timestamp("us", tz="UTC")
    columns = {
        "customer_id": ids,
        "event_timestamp": pyarrow.array(times, stamp),
        "created": pyarrow.array(times + 1, stamp),
    }
    columns |= {f"f{place}": random.random(rows) for place in range(FEATURES)}
    table = pyarrow.table(columns)
    for place in range(files):
        part = table.slice(place * rows // files, rows // files)
        pyarrow.parquet.write_table(part, folder / f"{place}.parquet", row_group_size=100_000)


@contextlib.contextmanager
def redis_server(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def anonymous_memory(process, peak):
    """The greatest memory that a process had of its own, in bytes: without mapped files."""
    while process.poll() is None:
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    peak[0] = max(peak[0], int(line.split()[1]) * 1024)
        time.sleep(0.01)


def unskew(binary, folder, online, rows, memory_limit):
    """Materializes: rows a second, and the greatest memory in bytes."""
    (folder / "unskew.toml").write_text(f'[project]\nname = "bench"\n{online}\n')
    subprocess.run([binary, "apply"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    command = [binary, "materialize", "--json", "--memory-limit", memory_limit]
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    peak = [0]
    watcher = threading.Thread(target=anonymous_memory, args=(process, peak))
    watcher.start()
    said = process.stdout.read()
    watcher.join()
    seconds = time.perf_counter() - begin
    if process.returncode != 0 or f'"rows":{rows}' not in said.replace(" ", ""):
        sys.exit(f"unskew materialize wrote other than {rows} rows: {said}")
    return rows / seconds, peak[0]


def feast(folder, online, rows):
    """Materializes with Feast's local engine: rows a second."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    folder.mkdir()
    (folder / "feature_store.yaml").write_text(
        f"project: bench\nprovider: local\nregistry: registry.db\n{online}\nentity_key_serialization_version: 3\n"
    )
    write_rows(folder / "stats", rows, files=1)
    source = FileSource(
        path=str(folder / "stats" / "0.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    schema = [Field(name=f"f{place}", dtype=Float64) for place in range(FEATURES)]
    view = FeatureView(name="stats", entities=[customer], schema=schema, source=source)
    store = FeatureStore(repo_path=str(folder))
    store.apply([customer, view])
    begin = time.perf_counter()
    store.materialize(START, END, feature_views=["stats"])
    return rows / (time.perf_counter() - begin)


def bare_limit(port, rows):
    """Sends as many commands as rows, of the bytes that are stored of each: rows a second."""
    import redis

    client = redis.Redis(port=port)
    keys = [key for key, _ in zip(client.scan_iter(count=1000), range(1000)) if client.type(key) == b"hash"]
    fields = [(key, *next(iter(client.hgetall(key).items()))) for key in keys]
    key = max(len(key) for key, _, _ in fields)
    field = max(len(field) for _, field, _ in fields)
    value = max(len(value) for _, _, value in fields)
    client.flushall()

    def bulk(data):
        return b"$%d\r\n%s\r\n" % (len(data), data)

    commands = [
        b"*4\r\n" + bulk(b"HSET") + bulk(b"%0*d" % (key, row)) + bulk(b"f" * field) + bulk(b"v" * value)
        for row in range(rows)
    ]
    chunks = [b"".join(commands[at : at + 1000]) for at in range(0, rows, 1000)]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        begin = time.perf_counter()

        def send():
            for chunk in chunks:
                connection.sendall(chunk)

        sender = threading.Thread(target=send)
        sender.start()
        left = rows * len(b":1\r\n")
        while left:
            left -= len(connection.recv(min(left, 1 << 20)))
        sender.join()
        return rows / (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--unskew", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--feast-rows", type=int, default=200_000)
    parser.add_argument("--memory-limit", default="256MB")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="unskew-bench-"))
    try:
        project = folder / "unskew"
        write_rows(project / "stats", options.rows)
        (project / "features").mkdir()
        features = "".join(f'f{place} = "float64"\n' for place in range(FEATURES))
        (project / "features" / "stats.toml").write_text(DEFINITIONS + features)
        run = lambda online: unskew(options.unskew, project, online, options.rows, options.memory_limit)
        table = []
        rate, memory = run("")
        theirs = feast(folder / "feast", "online_store:\n  type: sqlite\n  path: online.db", options.feast_rows)
        table.append(("embedded (Feast: SQLite)", rate, memory, theirs, None))
        if shutil.which("redis-server"):
            with redis_server(folder) as port:
                rate, memory = run(f'[online]\nurl = "redis://127.0.0.1:{port}"')
                bare = bare_limit(port, options.rows)
            with redis_server(folder) as port:
                online = f"online_store:\n  type: redis\n  connection_string: 127.0.0.1:{port}"
                theirs = feast(folder / "feast_redis", online, options.feast_rows)
            table.append(("Redis", rate, memory, theirs, bare))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    feast_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{options.rows} rows x {FEATURES} features; Feast {options.feast_rows} rows; {os.cpu_count()} cores,")
    print(f"load {os.getloadavg()[0]:.1f}; memory limit of sorting {options.memory_limit}")
    for name, rate, memory, theirs, bare in table:
        line = f"{name}: {rate:,.0f} rows/s, {memory / 1e6:,.0f} MB; Feast {theirs:,.0f} rows/s: {rate / theirs:.1f} times"
        if bare:
            line += f"; bare limit {bare:,.0f} rows/s: {rate / bare:.2f} of it"
        print(line)
    print(f"memory of Feast, with that of this script: {feast_memory / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
