"""The real Feast client against a running `unskew serve`.

    python client.py URL FOLDER

URL is where the project of tests/it/feast.rs is served, FOLDER an empty folder for the client's own
registry. Ends with a line that counts what was checked; the first thing that does not hold ends it
with an error.
"""

import json
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import requests
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RepoConfig,
    ValueType,
)
from feast.data_source import PushMode
from feast.errors import (
    FeastError,
    FeastObjectNotFoundException,
    FeatureNameCollisionError,
    FeatureServiceNotFoundException,
    FeatureViewNotFoundException,
    PushSourceNotFoundException,
    RequestDataNotFoundInEntityRowsException,
)
from feast.infra.online_stores.remote import RemoteOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import (
    Array,
    Bool,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
)

STATS = ["conv_rate", "acc_rate", "avg_daily_trips"]
NOW = datetime.now(timezone.utc).replace(microsecond=0)
START = datetime(2026, 1, 1, tzinfo=timezone.utc)

checks = 0


def same(got, expected, what):
    """Counts a check, which has to hold to the bit."""
    global checks
    checks += 1
    assert got == expected, f"{what}: expected {expected!r}, got {got!r}"


def client(url, folder):
    """A store whose registry has what a user of Feast would have declared."""
    config = RepoConfig(
        project="probe",
        registry=str(Path(folder) / "registry.db"),
        provider="local",
        online_store={"type": "remote", "path": url},
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    source = FileSource(
        name="driver_stats",
        path=str(Path(folder) / "driver_stats.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    pd.DataFrame(
        {
            "driver_id": [1001],
            "conv_rate": np.float32([0.5]),
            "acc_rate": np.float32([0.5]),
            "avg_daily_trips": [1],
            "event_timestamp": [NOW],
            "created": [NOW],
        }
    ).to_parquet(source.path)
    schema = [
        Field(name="conv_rate", dtype=Float32),
        Field(name="acc_rate", dtype=Float32),
        Field(name="avg_daily_trips", dtype=Int64),
    ]
    without_created = FileSource(
        name="kinds", path=source.path, timestamp_field="event_timestamp"
    )
    pushed = PushSource(name="driver_stats_push_source", batch_source=source)
    stats = FeatureView(
        name="driver_hourly_stats", entities=[driver], schema=schema, source=source
    )
    fresh = FeatureView(
        name="driver_hourly_stats_fresh", entities=[driver], schema=schema, source=pushed
    )
    kinds = FeatureView(
        name="kinds",
        entities=[driver],
        source=without_created,
        schema=[
            Field(name="a_bool", dtype=Bool),
            Field(name="an_int32", dtype=Int32),
            Field(name="an_int64", dtype=Int64),
            Field(name="a_float32", dtype=Float32),
            Field(name="a_float64", dtype=Float64),
            Field(name="a_string", dtype=String),
            Field(name="a_moment", dtype=UnixTimestamp),
            Field(name="int64s", dtype=Array(Int64)),
            Field(name="float32s", dtype=Array(Float32)),
            Field(name="float64s", dtype=Array(Float64)),
            Field(name="strings", dtype=Array(String)),
        ],
    )
    activity = FeatureService(name="driver_activity", features=[stats[["conv_rate"]]])
    store.apply([driver, source, without_created, stats, fresh, kinds, pushed, activity])
    return store


def read(store, features, ids, **more):
    rows = [{"driver_id": driver, **more} for driver in ids]
    return store.get_online_features(features=features, entity_rows=rows).to_dict()


def materializes(store):
    empty = read(store, [f"driver_hourly_stats:{name}" for name in STATS], [1001])
    same(empty, {"driver_id": [1001], **{name: [None] for name in STATS}}, "nothing is there yet")
    store.materialize(START, datetime(2026, 1, 2, tzinfo=timezone.utc))
    got = read(store, ["driver_hourly_stats:avg_daily_trips"], [1001, 1002])
    same(got["avg_daily_trips"], [10, None], "materialized up to the second day")
    store.materialize_incremental(NOW - timedelta(minutes=1), ["driver_hourly_stats"])
    got = read(store, ["driver_hourly_stats:avg_daily_trips"], [1001, 1002])
    same(got["avg_daily_trips"], [11, 22], "and the rest")
    store.materialize_incremental(NOW - timedelta(minutes=1))
    for call in [
        lambda: store.materialize_incremental(NOW + timedelta(days=2)),
        lambda: store.materialize(NOW, START),
    ]:
        raises(Exception, call, "")


def reads(store):
    features = [f"driver_hourly_stats:{name}" for name in STATS]
    got = read(store, features, [1234])
    same(got, {"driver_id": [1234], **{name: [None] for name in STATS}}, "an unknown entity")
    got = read(store, features, [1001, 1002])
    expected = {
        "driver_id": [1001, 1002],
        "conv_rate": [0.75, float(np.float32(0.1))],
        "acc_rate": [0.25, -0.0],
        "avg_daily_trips": [11, 22],
    }
    same(got, expected, "by list")
    got = read(store, features[:1], [1001, 1002])
    same(sorted(got), ["conv_rate", "driver_id"], "one feature alone")


def services(store):
    service = store.get_feature_service("driver_activity")
    by_service = read(store, service, [1001, 1002])
    by_list = read(store, ["driver_hourly_stats:conv_rate", "scaled:trips_scaled"], [1001, 1002])
    same(by_service, by_list, "by service")
    same(by_service["trips_scaled"], [0.5, 6.0], "an on-demand feature")
    got = store.get_online_features(
        features=["driver_hourly_stats:conv_rate"],
        entity_rows=[{"driver_id": 1001}],
        full_feature_names=True,
    ).to_dict()
    same(sorted(got), ["driver_hourly_stats__conv_rate", "driver_id"], "full names")
    got = read(store, ["with_request:value_scaled"], [1001], value=4.0)
    same(got["value_scaled"], [-3.0], "request data")
    frame = store.get_online_features(
        features=["driver_hourly_stats:avg_daily_trips"],
        entity_rows=[{"driver_id": "1001"}, {"driver_id": 1002}],
    ).to_df()
    same(list(frame["avg_daily_trips"]), [11, 22], "a key as text is read as its type")


def pushes(store):
    moment = pd.Timestamp(NOW - timedelta(seconds=5)).tz_localize(None)
    frame = pd.DataFrame(
        {
            "driver_id": [1000, 1001],
            "conv_rate": [0.56, 0.74],
            "acc_rate": [0.95, 0.93],
            "avg_daily_trips": [50, 45],
            "event_timestamp": [moment] * 2,
            "created": [moment] * 2,
            "driver_profile": [{"name": "a"}, {"name": "b"}],
        }
    )
    store.push("driver_stats_push_source", frame, to=PushMode.ONLINE)
    features = [f"driver_hourly_stats_fresh:{name}" for name in STATS]
    got = read(store, features, [1000, 1001])
    same([round(value, 2) for value in got["conv_rate"]], [0.56, 0.74], "pushed")
    same([round(value, 2) for value in got["acc_rate"]], [0.95, 0.93], "pushed")
    same(got["avg_daily_trips"], [50, 45], "pushed")
    older = frame.drop(columns="driver_profile").assign(
        avg_daily_trips=[1, 1], event_timestamp=moment - pd.Timedelta("1d")
    )
    store.push("driver_stats_push_source", older, to=PushMode.ONLINE)
    same(read(store, features, [1000])["avg_daily_trips"], [50], "an older row overwrites nothing")
    same(
        read(store, ["driver_hourly_stats:avg_daily_trips"], [1001])["avg_daily_trips"],
        [11],
        "a push for one view leaves the others alone",
    )
    others = older.assign(driver_id=[7, 8], event_timestamp=[moment] * 2)
    store.write_to_online_store("driver_hourly_stats_fresh", others)
    same(read(store, features, [7, 8])["avg_daily_trips"], [1, 1], "written")
    raises(
        PushSourceNotFoundException,
        lambda: store.push("no_such_source", frame, to=PushMode.ONLINE),
        "no_such_source",
    )


def types(store):
    moment = pd.Timestamp(NOW).tz_localize(None)
    values = {
        "a_bool": [True, False],
        "an_int32": [2**31 - 1, -(2**31)],
        "an_int64": [2**63 - 1, -(2**63)],
        "a_float32": [float(np.float32(0.1)), -0.0],
        "a_float64": [0.1, 5e-324],
        "a_string": ["straße \U0001f980 \"\\\n\x00", ""],
        "int64s": [[1, -(2**63)], [7]],
        "float32s": [[0.5, 2.0], [float(np.float32(0.1))]],
        "float64s": [[0.1, 2.0], [1e300]],
        "strings": [["a", ""], ["ß"]],
    }
    frame = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [moment] * 2, **values})
    frame["a_moment"] = pd.to_datetime([1_700_000_000, 0], unit="s", utc=True)
    frame = frame.astype({"an_int32": "int32", "a_float32": "float32"})
    store.write_to_online_store("kinds", frame)
    got = read(store, [f"kinds:{name}" for name in [*values, "a_moment"]], [1, 2])
    for name, expected in values.items():
        same(got[name], expected, name)
        signs = [np.signbit(value) for value in got[name] if isinstance(value, float)]
        same(signs, [np.signbit(v) for v in expected if isinstance(v, float)], f"signs of {name}")
    same(got["a_moment"], ["2023-11-14T22:13:20Z", "1970-01-01T00:00:00Z"], "a_moment")


def raises(kind, call, message):
    """The call raises this very kind, at once: a client that tries again has been told a lie."""
    global checks
    checks += 1
    start = time.monotonic()
    try:
        call()
    except kind as error:
        took = time.monotonic() - start
        assert took < 1.5, f"{error!r} took {took:.1f} s: the client has tried it again"
        assert message in str(error), f"{error!r} does not say {message!r}"
        return error
    raise AssertionError(f"no {kind.__name__}, which should say {message!r}")


def exceptions(store):
    stats = "driver_hourly_stats:conv_rate"
    for kind, features, ids, more, message in [
        (FeatureServiceNotFoundException, FeatureService(name="driver_actvity", features=[]), [1], {}, "did you mean"),
        (FeatureViewNotFoundException, ["nowhere:x"], [1], {}, "Feature view nowhere does not exist"),
        (FeastObjectNotFoundException, ["driver_hourly_stats:conv_rat"], [1], {}, "did you mean"),
        (RequestDataNotFoundInEntityRowsException, ["with_request:value_scaled"], [1], {}, "value"),
        (FeatureNameCollisionError, [stats, "driver_hourly_stats_fresh:conv_rate"], [1], {}, "conv_rate"),
        (FeastError, [stats], ["abc"], {}, "not a value of type int64"),
        (FeastError, ["conv_rate"], [1], {}, "not a feature"),
        (FeastError, [stats], range(10_001), {}, "limit 10000"),
    ]:
        error = raises(kind, lambda: read(store, features, ids, **more), message)
        same(type(error), kind, "the very class")


def old_clients(store):
    """Clients before 0.64 ask view by view, and read times from the second column."""
    key = EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=1001)])
    view = store.get_feature_view("driver_hourly_stats")
    rows = RemoteOnlineStore().online_read(store.config, view, [key], ["avg_daily_trips"])
    (moment, values), = rows
    same(values["avg_daily_trips"], Value(int64_val=11), "an old client's value")
    same(moment, datetime(2026, 1, 3, tzinfo=timezone.utc), "an old client's time")


def document(url):
    """Requests and answers are as the OpenAPI document says."""
    described = requests.get(f"{url}/openapi.json").json()
    same(described["openapi"][:3], "3.1", "the version of OpenAPI")

    def fits(schema, value):
        global checks
        checks += 1
        schema = {**schema, "components": described["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)

    request = {
        "entities": {"driver_id": [1001, 5]},
        "features": ["driver_hourly_stats@v2:conv_rate", "scaled:trips_scaled"],
        "full_feature_names": False,
        "include_feature_view_version_metadata": True,
    }
    bodies = {
        "/get-online-features": request,
        "/push": {
            "push_source_name": "driver_stats_fresh",
            "df": {
                "driver_id": [1],
                "conv_rate": [0.5],
                "acc_rate": [0.5],
                "avg_daily_trips": [1],
                "event_timestamp": ["2026-01-01"],
            },
        },
        "/materialize": {"start_ts": "2026-01-01", "end_ts": "2026-01-02"},
        "/materialize-incremental": {"end_ts": "2026-01-02"},
    }
    bodies["/write-to-online-store"] = {
        "feature_view_name": "driver_hourly_stats_fresh",
        "df": bodies["/push"]["df"],
    }
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            url_of = f"{url}{path}"
            if method == "get":
                answer = requests.get(url_of)
            else:
                fits(operation["requestBody"]["content"]["application/json"]["schema"], bodies[path])
                answer = requests.post(url_of, json=bodies[path])
                refused = requests.post(url_of, json={})
                same(refused.status_code, 422, f"{path} with nothing in it")
                content = operation["responses"]["422"]["content"]
                fits(next(iter(content.values()))["schema"], refused.json())
                same(json.loads(refused.json())["class"], "FeastError", "a refusal's class")
            same(answer.status_code, 200, f"{method} {path}: {answer.text[:300]}")
            for kind, content in operation["responses"]["200"].get("content", {}).items():
                said = answer.text if kind == "text/plain" else answer.json()
                fits(content["schema"], said)
    answer = requests.post(f"{url}/get-online-features", json=request).json()
    metadata = answer["metadata"]
    same(metadata["feature_names"], ["driver_id", "conv_rate", "trips_scaled"], "names in order")
    same(len(metadata["warnings"]), 1, "a version is passed over with a warning")
    views = [{"name": name, "version": 0} for name in ["driver_hourly_stats", "scaled"]]
    same(metadata["feature_view_metadata"], views, "the views")


def main():
    url, folder = sys.argv[1:]
    store = client(url, folder)
    materializes(store)
    reads(store)
    services(store)
    pushes(store)
    types(store)
    exceptions(store)
    old_clients(store)
    document(url)
    print(f"{checks} checks hold")


if __name__ == "__main__":
    main()
