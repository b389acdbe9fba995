"""Feast's own test of its remote online store, against a running `unskew serve`.

    python remote_online_store.py URL FOLDER

URL is where the project of tests/it/feast.rs is served, FOLDER that project's folder, in which Feast's
repositories are made. The functions and what they assert are those of Feast's
sdk/python/tests/integration/online_store/test_remote_online_store.py, without TLS and permissions. Its
server is ours; `server_store` is a store of Feast's over the same rows, materialized as ours is. (In
Feast's test neither is materialized, so that nulls are compared with nulls.)
"""

import json
import re
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.data_source import PushMode
from feast.types import Float32, Int64
from feast.utils import _utc_now

PROJECT_NAME = "probe"


def _store(folder, registry, online_store):
    folder.mkdir(exist_ok=True)
    config = RepoConfig(
        project=PROJECT_NAME,
        registry=str(registry),
        provider="local",
        online_store=online_store,
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
    )
    return FeatureStore(config=config)


def _create_server_store(folder, rows):
    store = _store(folder, folder / "registry.db", {"type": "sqlite", "path": str(folder / "online.db")})
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    source = FileSource(
        name="driver_hourly_stats_source",
        path=str(rows),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    pushed = PushSource(name="driver_stats_push_source", batch_source=source)
    stats = FeatureView(
        name="driver_hourly_stats",
        entities=[driver],
        schema=[
            Field(name="conv_rate", dtype=Float32),
            Field(name="acc_rate", dtype=Float32),
            Field(name="avg_daily_trips", dtype=Int64),
        ],
        source=source,
    )
    fresh = FeatureView(
        name="driver_hourly_stats_fresh", entities=[driver], schema=stats.schema, source=pushed
    )
    store.apply([driver, source, pushed, stats, fresh])
    store.materialize(datetime(2020, 1, 1, tzinfo=timezone.utc), datetime.now(timezone.utc))
    return store


def test_remote_online_store_read(client_store, server_store):
    _assert_non_existing_entity_feature_views_entity(
        client_store=client_store, server_store=server_store
    )
    _assert_existing_feature_views_entity(
        client_store=client_store, server_store=server_store
    )
    _assert_non_existing_feature_views(
        client_store=client_store, server_store=server_store
    )


def _assert_non_existing_entity_feature_views_entity(client_store, server_store):
    features = [
        "driver_hourly_stats:conv_rate",
        "driver_hourly_stats:acc_rate",
        "driver_hourly_stats:avg_daily_trips",
    ]

    entity_rows = [{"driver_id": 1234}]
    _assert_client_server_online_stores_are_matching(
        client_store=client_store,
        server_store=server_store,
        features=features,
        entity_rows=entity_rows,
    )


def _assert_non_existing_feature_views(client_store, server_store):
    features = [
        "driver_hourly_stats1:conv_rate",
        "driver_hourly_stats1:acc_rate",
        "driver_hourly_stats:avg_daily_trips",
    ]

    entity_rows = [{"driver_id": 1001}, {"driver_id": 1002}]

    for store in [client_store, server_store]:
        _assert_raises(
            lambda: store.get_online_features(features=features, entity_rows=entity_rows).to_dict(),
            match="Feature view driver_hourly_stats1 does not exist",
        )


def _assert_existing_feature_views_entity(client_store, server_store):
    features = [
        "driver_hourly_stats:conv_rate",
        "driver_hourly_stats:acc_rate",
        "driver_hourly_stats:avg_daily_trips",
    ]

    entity_rows = [{"driver_id": 1001}, {"driver_id": 1002}]
    _assert_client_server_online_stores_are_matching(
        client_store=client_store,
        server_store=server_store,
        features=features,
        entity_rows=entity_rows,
    )

    features = ["driver_hourly_stats:conv_rate"]
    _assert_client_server_online_stores_are_matching(
        client_store=client_store,
        server_store=server_store,
        features=features,
        entity_rows=entity_rows,
    )


def _assert_client_server_online_stores_are_matching(
    client_store, server_store, features, entity_rows
):
    online_features_from_client = client_store.get_online_features(
        features=features, entity_rows=entity_rows
    ).to_dict()

    assert online_features_from_client is not None

    online_features_from_server = server_store.get_online_features(
        features=features, entity_rows=entity_rows
    ).to_dict()

    assert online_features_from_server is not None
    assert online_features_from_client == online_features_from_server, (
        online_features_from_client,
        online_features_from_server,
    )


def _assert_raises(call, match):
    try:
        call()
    except Exception as error:
        assert re.search(match, str(error)), error
        return
    raise AssertionError(f"nothing was raised that says {match!r}")


def test_remote_online_store_read_write(client_store, rows):
    driver = Entity(name="driver_id", description="Drivers id")

    driver_hourly_stats_source = FileSource(
        path=str(rows),  # Path is not used for online writes in this context
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )

    PushSource(
        name="driver_stats_push_source",
        batch_source=driver_hourly_stats_source,
    )

    driver_hourly_stats_fv = FeatureView(
        name="driver_hourly_stats",
        entities=[driver],
        ttl=timedelta(days=1),
        schema=[
            Field(name="conv_rate", dtype=Float32),
            Field(name="acc_rate", dtype=Float32),
            Field(name="avg_daily_trips", dtype=Int64),
        ],
        source=driver_hourly_stats_source,
        tags={},
    )

    # Apply the feature view to the client store
    client_store.apply([driver, driver_hourly_stats_fv])
    event_df = pd.DataFrame(
        {
            "driver_id": [1000, 1001],
            "conv_rate": [0.56, 0.74],
            "acc_rate": [0.95, 0.93],
            "avg_daily_trips": [50, 45],
            "event_timestamp": [pd.Timestamp(_utc_now()).round("ms")] * 2,
            "created": [pd.Timestamp(_utc_now()).round("ms")] * 2,
            "driver_metadata": [
                {"vehicle_type": "sedan", "rating": "4.5"},
                {"vehicle_type": "suv", "rating": "3.8"},
            ],
            "driver_config": [
                json.dumps({"max_distance_km": 100, "preferred_zones": ["north"]}),
                json.dumps({"max_distance_km": 50, "preferred_zones": ["south"]}),
            ],
            "driver_profile": [
                {"name": "driver_1000", "age": "30"},
                {"name": "driver_1001", "age": "35"},
            ],
        }
    )

    # Perform the online write
    client_store.push(
        push_source_name="driver_stats_push_source", df=event_df, to=PushMode.ONLINE
    )

    # Verify the data by reading it back
    read_features = [
        "driver_hourly_stats_fresh:conv_rate",
        "driver_hourly_stats_fresh:acc_rate",
        "driver_hourly_stats_fresh:avg_daily_trips",
    ]
    online_features = client_store.get_online_features(
        features=read_features,
        entity_rows=[{"driver_id": 1000}, {"driver_id": 1001}],
    ).to_dict()

    # Assertions for read data
    assert online_features is not None
    assert len(online_features["driver_id"]) == 2
    assert online_features["driver_id"] == [1000, 1001]
    assert [round(val, 2) for val in online_features["conv_rate"]] == [0.56, 0.74]
    assert [round(val, 2) for val in online_features["acc_rate"]] == [0.95, 0.93]
    assert online_features["avg_daily_trips"] == [50, 45]


def main():
    url, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    rows = folder / "driver_stats.parquet"
    server_store = _create_server_store(folder / "server_store", rows)
    client_store = _store(
        folder / "client_store",
        folder / "server_store" / "registry.db",
        {"type": "remote", "path": url},
    )
    test_remote_online_store_read(client_store, server_store)
    test_remote_online_store_read_write(client_store, rows)
    print("what Feast's test asserts holds")


if __name__ == "__main__":
    main()
