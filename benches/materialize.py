"""What it costs to materialize 1,000,000 rows of 5 features, beside Feast's local engine.

    make bench-materialize

All in one run on one machine, into the embedded store (Feast: SQLite, its default) and into one
Redis. Feast gets fewer rows, since its rate does not depend on how many there are and it would take
minutes; its memory does. The bare limit is a client that does nothing but send Redis the HSET of
the same keys, fields and values, many at a time: of entities that have no row, and of entities that
have one. Of RUNS runs of whatever writes to Redis, the fastest counts, in turns: a second is short,
and machines do other things.
"""

import argparse
import contextlib
import datetime
import io
import multiprocessing
import os
import pathlib
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
DAY = datetime.timedelta(days=1)
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
%s
[feature_view.stats.features]
"""


def write_rows(folder, rows, files=4, later=datetime.timedelta()):
    """Rows of as many entities, in no order, in some files; all event times by so much later."""
    folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.default_rng(7)
    ids = random.permutation(rows).astype("int64")
    start = int((START + later).timestamp() * 1e6)
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


def peak_memory(pid, is_alive):
    """The greatest memory that a process had of its own while it lived, in bytes: without mapped files."""
    peak = 0
    while is_alive():
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    peak = max(peak, int(line.split()[1]) * 1024)
        time.sleep(0.01)
    return peak


class Unskew:
    """A project and the command."""

    def __init__(self, binary, folder, rows, memory_limit):
        self.binary, self.folder, self.rows, self.memory_limit = binary, folder, rows, memory_limit
        (folder / "features").mkdir(parents=True)

    def materialize(self, online="", ttl="", later=datetime.timedelta()):
        """Materializes into the store of these settings: rows a second, and the greatest memory."""
        write_rows(self.folder / "stats", self.rows, later=later)
        features = "".join(f'f{place} = "float64"\n' for place in range(FEATURES))
        (self.folder / "features" / "stats.toml").write_text(DEFINITIONS % ttl + features)
        (self.folder / "unskew.toml").write_text(f'[project]\nname = "bench"\n{online}\n')
        subprocess.run([self.binary, "apply"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        command = [self.binary, "materialize", "--json", "--memory-limit", self.memory_limit]
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)
        said = []
        reader = threading.Thread(target=lambda: said.append(process.stdout.read()))
        reader.start()
        peak = peak_memory(process.pid, lambda: process.poll() is None)
        seconds = time.perf_counter() - begin
        reader.join()
        written = f'"written":{self.rows}'
        if process.returncode != 0 or written not in said[0].replace(" ", ""):
            sys.exit(f"unskew materialize wrote other than {self.rows} rows: {said[0]}")
        return self.rows / seconds, peak


def feast_in_child(folder, online, rows, told):
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    (folder / "feature_store.yaml").write_text(
        f"project: bench\nprovider: local\nregistry: registry.db\n{online}\nentity_key_serialization_version: 3\n"
    )
    source = FileSource(
        path=str(folder / "stats" / "0.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    schema = [Field(name=f"f{place}", dtype=Float64) for place in range(FEATURES)]
    view = FeatureView(name="stats", entities=[customer], schema=schema, source=source)
    with contextlib.redirect_stdout(io.StringIO()):
        store = FeatureStore(repo_path=str(folder))
        store.apply([customer, view])
        begin = time.perf_counter()
        store.materialize(START, END, feature_views=["stats"])
        seconds = time.perf_counter() - begin
    told.put(rows / seconds)


def feast(folder, online, rows):
    """Materializes with Feast's local engine in a process of its own: rows a second, and its memory."""
    write_rows(folder / "stats", rows, files=1)
    spawn = multiprocessing.get_context("spawn")
    told = spawn.Queue()
    child = spawn.Process(target=feast_in_child, args=(folder, online, rows, told))
    child.start()
    peak = peak_memory(child.pid, child.is_alive)
    if child.exitcode != 0:
        sys.exit(f"feast materialize failed: {child.exitcode}")
    return told.get(), peak


def bulk(data):
    return b"$%d\r\n%s\r\n" % (len(data), data)


def exchange(port, chunks, answers):
    """Sends all the chunks while it reads so many bytes of answers: the answers, and the seconds."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        begin = time.perf_counter()
        sender = threading.Thread(target=lambda: [connection.sendall(chunk) for chunk in chunks])
        sender.start()
        read = bytearray()
        while len(read) < answers:
            read += connection.recv(1 << 20)
        sender.join()
        return read, time.perf_counter() - begin


def chunked(commands):
    return [b"".join(commands[at : at + 1000]) for at in range(0, len(commands), 1000)]


def stored(port, rows):
    """HSET for everything that is stored, to the byte."""
    import redis

    client = redis.Redis(port=port)
    keys = [key for key in client.scan_iter(count=10_000)]
    length = max(set(map(len, keys)), key=[len(key) for key in keys[:1000]].count)
    keys = [key for key in keys if len(key) == length]
    if len(keys) != rows:
        sys.exit(f"{len(keys)} keys of {rows} rows")
    # Every answer has the same length, and ends in the field and its value as they are sent.
    pair = next(iter(client.hgetall(keys[0]).items()))
    answer = len(b"*2\r\n" + bulk(pair[0]) + bulk(pair[1]))
    asked = [b"*2\r\n$7\r\nHGETALL\r\n" + bulk(key) for key in keys]
    read, _ = exchange(port, chunked(asked), answer * rows)
    return [
        b"*4\r\n$4\r\nHSET\r\n" + bulk(key) + read[answer * row + 4 : answer * (row + 1)]
        for row, key in enumerate(keys)
    ]


def bare_limit(folder, commands):
    """Rows a second of the bare client: entities that have no row, and the same again."""
    chunks, rows = chunked(commands), len(commands)
    with redis_server(folder) as port:
        return [rows / exchange(port, chunks, rows * len(b":1\r\n"))[1] for _ in range(2)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--unskew", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--feast-rows", type=int, default=200_000)
    parser.add_argument("--memory-limit", default="256MB")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="unskew-bench-"))
    lines = []
    line = lambda name, measured, limit=None: lines.append((name, *measured, limit))
    try:
        project = Unskew(options.unskew, folder / "unskew", options.rows, options.memory_limit)
        line("embedded", project.materialize())
        line("embedded, newer rows", project.materialize(later=DAY))
        sqlite = feast(folder / "feast", "online_store:\n  type: sqlite\n  path: online.db", options.feast_rows)
        runs = []
        for _ in range(options.runs):
            with redis_server(folder) as port:
                online = f'[online]\nurl = "redis://127.0.0.1:{port}"'
                ours = project.materialize(online), project.materialize(online, later=DAY)
                limits = bare_limit(folder, stored(port, options.rows))
            with redis_server(folder) as port:
                online = f'[online]\nurl = "redis://127.0.0.1:{port}"'
                runs.append((*ours, project.materialize(online, 'ttl = "9000d"'), *limits))
        *ours, fresh, again = map(max, zip(*runs))
        line("Redis", ours[0], fresh)
        line("Redis, newer rows", ours[1], again)
        line("Redis, with a ttl", ours[2], fresh)
        with redis_server(folder) as port:
            online = f"online_store:\n  type: redis\n  connection_string: 127.0.0.1:{port}"
            redis = feast(folder / "feast_redis", online, options.feast_rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{options.rows} rows x {FEATURES} features; Feast {options.feast_rows} rows; {os.cpu_count()} cores,")
    print(f"load {os.getloadavg()[0]:.1f}; memory limit of sorting {options.memory_limit}")
    print(f"Feast: SQLite {sqlite[0]:,.0f} rows/s, {sqlite[1] / 1e6:,.0f} MB; Redis {redis[0]:,.0f} rows/s, {redis[1] / 1e6:,.0f} MB")
    print(f"bare limit of Redis: {fresh:,.0f} rows/s for new entities, {again:,.0f} for those that are there")
    for name, rate, memory, limit in lines:
        theirs = redis[0] if limit else sqlite[0]
        text = f"{name}: {rate:,.0f} rows/s, {rate / theirs:.1f} times Feast, {memory / 1e6:,.0f} MB"
        print(text + (f", {rate / limit:.2f} of the limit" if limit else ""))


if __name__ == "__main__":
    main()
