"""What Feast makes of the data of benches/offline.py, small: a training dataset by its DuckDB store,
and one by its default store.

    python tests/feast_join.py FOLDER ROWS

Writes into FOLDER the entity dataframe and the tables, a project of unskew over them, and
feast_duckdb.parquet and feast_default.parquet.
"""

import datetime
import pathlib
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "benches"))
import offline  # noqa: E402

folder, rows = pathlib.Path(sys.argv[1]).absolute(), int(sys.argv[2])
offline.generate(folder, rows)

# Moments at which a rule is all that decides, for users that nothing else speaks of.
DAY = datetime.timedelta(days=1)
NOON = datetime.datetime(2024, 6, 1, 12, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)
USERS = {
    -1: [NOON, NOON + 30 * DAY, NOON + 30 * DAY + MICROSECOND],  # the ttl of user_stats, and one more
    -2: [NOON - MICROSECOND, NOON],  # before the only row, and at it
    -3: [NOON, NOON],  # one row twice
    -4: [NOON],  # nothing is known of it
}
stats = pq.read_table(folder / "user_stats.parquet")
known = pa.table(
    {
        "user_id": pa.array([-1, -2, -3], pa.int64()),
        "event_timestamp": pa.array([NOON] * 3, stats.schema.field("event_timestamp").type),
        "created": pa.array([NOON] * 3, stats.schema.field("created").type),
        "orders": pa.array([1, 2, None], pa.int64()),
        "spend": [1.5, None, 3.5],
        "score": [0.1, 0.2, 0.3],
        "segment": pa.array(["a", "b", None], stats.schema.field("segment").type),
    }
)
pq.write_table(pa.concat_tables([stats, known]), folder / "user_stats.parquet")
entities = pq.read_table(folder / "entities.parquet")
asked = [(user, moment) for user, moments in USERS.items() for moment in moments]
added = pa.table(
    {
        "row_id": pa.array(range(rows, rows + len(asked)), pa.int64()),
        "user_id": pa.array([user for user, _ in asked], pa.int64()),
        "product_id": pa.array([0] * len(asked), pa.int64()),
        "event_timestamp": pa.array([at for _, at in asked], entities.schema.field("event_timestamp").type),
        "label": [False] * len(asked),
    }
)
pq.write_table(pa.concat_tables([entities, added]), folder / "entities.parquet")

(folder / "features").mkdir(exist_ok=True)
(folder / "unskew.toml").write_text('[project]\nname = "feast"\n')
(folder / "features/all.toml").write_text(offline.definitions(folder))

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType  # noqa: E402
from feast.types import from_value_type  # noqa: E402

TYPES = {"int64": ValueType.INT64, "double": ValueType.DOUBLE, "string": ValueType.STRING}
ENTITIES = {
    "user_id": Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64),
    "product_id": Entity(name="product", join_keys=["product_id"], value_type=ValueType.INT64),
}


def views():
    for view, (keys, features, ttl) in offline.VIEWS.items():
        path = folder / f"{view}.parquet"
        schema = pq.read_schema(path)
        yield FeatureView(
            name=view,
            entities=[ENTITIES[key] for key in keys],
            ttl=ttl * DAY if ttl else None,
            schema=[Field(name=f, dtype=from_value_type(TYPES[str(schema.field(f).type)])) for f in features],
            source=FileSource(
                path=str(path), timestamp_field="event_timestamp", created_timestamp_column="created"
            ),
        )


def training_set(store_type, name):
    config = RepoConfig(
        project="feast",
        registry=str(folder / f"{name}.db"),
        provider="local",
        offline_store={"type": store_type},
        online_store=None,
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    store.apply([*ENTITIES.values(), *views()])
    rows = pd.read_parquet(folder / "entities.parquet")
    features = [f"{view}:{feature}" for view, (_, features, _) in offline.VIEWS.items() for feature in features]
    joined = store.get_historical_features(rows, features, full_feature_names=True).to_arrow()
    columns = ["row_id", *offline.FEATURES]
    pq.write_table(joined.select(columns).sort_by("row_id"), folder / f"{name}.parquet")


training_set("duckdb", "feast_duckdb")
training_set("file", "feast_default")
