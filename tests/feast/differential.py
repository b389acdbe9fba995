"""The same requests to `unskew serve` and to `feast serve`, on the same rows.

    python differential.py URL FOLDER REQUESTS SEED [HOST:PORT]

URL is where the project of tests/it/feast.rs is served; FOLDER has its Parquet files, and takes Feast's
repository. Feast's online store is SQLite, or the Redis at HOST:PORT. Every generated request goes to both, and the answers are compared by feature name. Each
difference has to be one of those that the contract on values chooses; they are counted and listed.
"""

import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

REPOSITORY = '''
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float32, Float64, Int64, String, UnixTimestamp

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
zone = Entity(name="zone", join_keys=["zone"], value_type=ValueType.STRING)


def source(name):
    return FileSource(name=name, path=f"{name}.parquet", timestamp_field="event_timestamp")


trips = FeatureView(
    name="trips",
    entities=[driver],
    source=source("trips"),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="count", dtype=Int64),
        Field(name="rate", dtype=Float32),
        Field(name="amount", dtype=Float64),
        Field(name="note", dtype=String),
        Field(name="active", dtype=Bool),
    ],
)
recent = FeatureView(
    name="recent",
    entities=[driver],
    ttl=timedelta(days=10),
    source=source("recent"),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="count", dtype=Int64),
        Field(name="last", dtype=UnixTimestamp),
    ],
)
pairs = FeatureView(
    name="pairs",
    entities=[driver, zone],
    source=source("pairs"),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="zone", dtype=String),
        Field(name="visits", dtype=Int64),
    ],
)


@on_demand_feature_view(
    sources=[trips],
    schema=[Field(name="amount_scaled", dtype=Float64)],
    mode="python",
)
def scaled(inputs):
    return {
        "amount_scaled": [
            None if amount is None else (amount - 10.0) / 2.0 for amount in inputs["amount"]
        ]
    }


@on_demand_feature_view(
    sources=[RequestSource(name="asked", schema=[Field(name="value", dtype=Float64)])],
    schema=[Field(name="value_scaled", dtype=Float64)],
    mode="python",
)
def asked(inputs):
    return {"value_scaled": [(value - 10.0) / 2.0 for value in inputs["value"]]}


everything = FeatureService(name="everything", features=[trips, recent, scaled])
'''

SETTINGS = """
project: probe
registry: registry.db
provider: local
online_store: %s
offline_store: {type: file}
entity_key_serialization_version: 3
"""

VIEWS = {
    "trips": ["count", "rate", "amount", "note", "active"],
    "recent": ["count", "last"],
    "pairs": ["visits"],
    "scaled": ["amount_scaled"],
    "asked": ["value_scaled"],
}


def feast(folder, redis=None):
    """Feast's own server over the same rows: its URL, and its process."""
    repository = Path(folder) / "feast"
    repository.mkdir()
    online = "{type: sqlite, path: online.db}"
    if redis:
        online = f'{{type: redis, connection_string: "{redis}"}}'
    (repository / "feature_store.yaml").write_text(SETTINGS % online)
    (repository / "definitions.py").write_text(REPOSITORY)
    for name in ["trips", "recent", "pairs"]:
        (repository / f"{name}.parquet").symlink_to(Path(folder).resolve() / f"{name}.parquet")
    command = [Path(sys.executable).with_name("feast")]
    run = dict(cwd=repository, check=True, capture_output=True, text=True)
    subprocess.run([*command, "apply"], **run)
    end = datetime.now(timezone.utc) + timedelta(days=1)
    subprocess.run([*command, "materialize", "2020-01-01T00:00:00", f"{end:%Y-%m-%dT%H:%M:%S}"], **run)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = open(repository / "serve.log", "w")
    serve = [*command, "serve", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    process = subprocess.Popen(serve, cwd=repository, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            if requests.get(f"{url}/health", timeout=1).ok:
                return url, process
        except requests.RequestException:
            time.sleep(0.1)
    process.kill()
    raise RuntimeError(f"feast serve did not start: {(repository / 'serve.log').read_text()}")


def generate(chance):
    """A request, and whether there is something wrong with it."""
    rows = chance.choice([1, 1, 2, 5, 20])
    # Of 60 drivers, 40 are known.
    ids = [chance.randrange(60) for _ in range(rows)]
    entities = {"driver_id": [str(i) for i in ids] if chance.random() < 0.2 else ids}
    request = {"entities": entities, "full_feature_names": chance.random() < 0.5}
    if chance.random() < 0.2:
        request["feature_service"] = "everything"
        request["full_feature_names"] = True
        return request, False
    views = chance.sample(list(VIEWS), chance.randint(1, 3))
    wanted = [
        f"{view}:{name}"
        for view in views
        for name in chance.sample(VIEWS[view], chance.randint(1, len(VIEWS[view])))
    ]
    # Feast reads trips:count for `scaled`, asked for or not, and without full names answers it where
    # recent:count is asked for: nothing that a comparison could be made with.
    if "recent:count" in wanted and {"trips:count", "scaled:amount_scaled"} & set(wanted):
        request["full_feature_names"] = True
    if "pairs" in views:
        entities["zone"] = [chance.choice(["n", "s", "e", "w", "elsewhere"]) for _ in range(rows)]
    if "asked" in views:
        entities["value"] = [chance.uniform(-1e6, 1e6) for _ in range(rows)]
    if views == ["asked"] and chance.random() < 0.5:
        # Feast needs a join key even where no feature does.
        wanted.append("trips:note")
    wrong = chance.random() < 0.1
    if wrong:
        mistake = chance.randrange(5)
        if mistake == 0:
            wanted[0] = "nowhere:x"
        elif mistake == 1:
            wanted[0] = "trips:nothing"
        elif mistake == 2:
            wanted[0] = "trips"
        elif mistake == 3:
            entities["driver_id"] = ["abc"] * rows
            wanted.append("trips:note") if "trips:note" not in wanted else None
        else:
            entities["driver_id"] = ids + [1]
            entities["zone"] = ["n"] * rows
    request["features"] = wanted
    return request, wrong


def columns(answer):
    names = answer["metadata"]["feature_names"]
    return {name: column for name, column in zip(names, answer["results"], strict=True)}


def is_same(ours, theirs):
    if isinstance(ours, float) or isinstance(theirs, float):
        return ours is not None and theirs is not None and float(ours).hex() == float(theirs).hex()
    return type(ours) is type(theirs) and ours == theirs


def explain(on_redis, name, ours, our_status, theirs, their_status):
    """Which chosen difference it is; None where there is none, and an error where it is no chosen one."""
    if is_same(ours, theirs) and our_status == their_status:
        return None
    if ours is None and our_status == "OUTSIDE_MAX_AGE" and their_status == "PRESENT":
        return "older than the ttl: OUTSIDE_MAX_AGE and null, where Feast serves the value"
    if (ours, our_status) == ("NaN", "PRESENT") and (theirs, their_status) == (None, "PRESENT"):
        return "NaN: a value, where Feast stores a null for it"
    if on_redis and (ours, our_status, theirs, their_status) == (None, "NOT_FOUND", None, "PRESENT"):
        return "not stored: NOT_FOUND, where Feast on Redis says PRESENT"
    if name.endswith("last"):
        if isinstance(ours, str):
            moment = datetime.fromisoformat(ours.replace("Z", "+00:00"))
            if int(moment.timestamp()) == theirs and our_status == their_status:
                return "a time: RFC 3339, where Feast gives whole seconds"
        if ours is None and theirs == -(2**63) and our_status == "NULL_VALUE":
            return "a null time: null and NULL_VALUE, where Feast gives -2^63, PRESENT"
    if ours is None and theirs is None and (our_status, their_status) == ("NULL_VALUE", "PRESENT"):
        return "a null: NULL_VALUE, where Feast says PRESENT"
    raise AssertionError(
        f"{name}: ours is {ours!r} {our_status}, Feast's is {theirs!r} {their_status}"
    )


def compare(on_redis, ours, theirs, counted):
    ours, theirs = columns(ours), columns(theirs)
    computed = {"scaled__amount_scaled", "asked__value_scaled"}
    missing = set(ours) - set(theirs)
    echoed = set(theirs) - set(ours)
    assert missing <= computed and echoed <= {"driver_id"}, f"{sorted(ours)} and {sorted(theirs)}"
    counted["a join key that no feature needs: passed over, where Feast echoes it"] += len(echoed)
    counted["an on-demand feature under its full name: answered, where Feast leaves it out"] += len(missing)
    for name, our in ours.items():
        if name in missing:
            continue
        their = theirs[name]
        cells = zip(our["values"], our["statuses"], their["values"], their["statuses"], strict=True)
        for cell in cells:
            counted["values"] += 1
            difference = explain(on_redis, name, *cell)
            counted[difference or "equal"] += 1


def main():
    url, folder, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    chance = random.Random(seed)
    feast_url, process = feast(folder, *sys.argv[5:])
    ours, theirs = requests.Session(), requests.Session()
    # Feast's workers restart after a thousand requests, and drop connections then.
    again = Retry(total=5, backoff_factor=0.5, allowed_methods=None, status=0)
    theirs.mount("http://", HTTPAdapter(max_retries=again))
    counted, unexplained = Counter(), []
    try:
        for number in range(count):
            request, _ = generate(chance)
            our = ours.post(f"{url}/get-online-features", json=request)
            their = theirs.post(f"{feast_url}/get-online-features", json=request)
            where = f"request {number} of seed {seed}: {json.dumps(request)}"
            try:
                if our.ok and their.ok:
                    counted["requests answered by both"] += 1
                    compare(len(sys.argv) > 5, our.json(), their.json(), counted)
                elif not our.ok and not their.ok:
                    counted["requests refused by both"] += 1
                    assert 400 <= our.status_code < 500, our.text
                    if their.status_code >= 500:
                        counted["a caller's mistake: 4xx, where Feast answers 500"] += 1
                elif our.ok and their.status_code >= 500 and "pop from an empty set" in their.text:
                    counted["no join key is needed: an answer, where Feast answers 500"] += 1
                else:
                    raise AssertionError(f"{our.status_code} {our.text} and {their.status_code} {their.text}")
            except AssertionError as error:
                unexplained.append(f"{where}: {error}")
    finally:
        process.terminate()
        process.wait()
    if unexplained:
        shown = "\n".join(unexplained[:5])
        raise AssertionError(f"{len(unexplained)} of {count} requests differ, such as\n{shown}")
    for what, times in counted.most_common():
        if times:
            print(f"{times:9} {what}")
    print(f"{count} requests agree")


if __name__ == "__main__":
    main()
