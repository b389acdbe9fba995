"""`feast serve` over the rows of the benchmark, in the folder that it is run in.

    python feast_server.py sqlite|redis://HOST:PORT WORKERS

Prints `serving ADDRESS` when it answers, and ends with its standard input's writer or a signal.
"""

import signal
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import requests

DEFINITIONS = '''
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)


def view(number):
    return FeatureView(
        name=f"view_{number}",
        entities=[user],
        source=FileSource(
            name=f"view_{number}",
            path=f"../view_{number}.parquet",
            timestamp_field="event_timestamp",
        ),
        schema=[Field(name="user_id", dtype=Int64)]
        + [
            Field(name=f"f{number}_{feature}", dtype=Float64 if feature % 2 else Int64)
            for feature in range(10)
        ],
    )


view_0, view_1, view_2, view_3, view_4 = [view(number) for number in range(5)]


@on_demand_feature_view(
    sources=[view_0], schema=[Field(name="scaled", dtype=Float64)], mode="python"
)
def scaled(inputs):
    return {"scaled": [(x - 10.0) / 2.0 for x in inputs["f0_1"]]}
'''


def main():
    store, workers = sys.argv[1:]
    repository = Path("feast")
    repository.mkdir()
    online = "{type: sqlite, path: online.db}"
    if store.startswith("redis://"):
        online = f"{{type: redis, connection_string: \"{store.removeprefix('redis://')}\"}}"
    (repository / "feature_store.yaml").write_text(
        f"project: bench\nregistry: registry.db\nprovider: local\nonline_store: {online}\n"
        "offline_store: {type: file}\nentity_key_serialization_version: 3\n"
    )
    (repository / "definitions.py").write_text(DEFINITIONS)
    feast = Path(sys.executable).with_name("feast")
    run = dict(cwd=repository, check=True, stdout=sys.stderr)
    subprocess.run([feast, "apply"], **run)
    end = datetime.now(timezone.utc) + timedelta(days=1)
    window = ["2020-01-01T00:00:00", f"{end:%Y-%m-%dT%H:%M:%S}"]
    subprocess.run([feast, "materialize", *window], **run)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A worker ends after 1,000 requests, as it is usually set, and another starts for seconds: here
    # none ends, so that what is measured are answers.
    serve = [feast, "serve", "--host", "127.0.0.1", "--port", str(port), "--workers", workers]
    serve += ["--no-access-log", "--max-requests", str(10**9)]
    process = subprocess.Popen(serve, cwd=repository, stdout=sys.stderr, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        for _ in range(600):
            try:
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=1).ok:
                    break
            except requests.RequestException:
                time.sleep(0.1)
        print(f"serving 127.0.0.1:{port}", flush=True)
        process.wait()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
