//! A small shop to try things on: three customers, a few orders.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, TimestampMicrosecondArray};

use crate::support::{Project, write_parquet};

const DAY: i64 = 86_400_000_000;

/// 1998-01-01.
const START: i64 = 883_612_800_000_000;

/// Days of 1998, from 0, as times.
pub fn days(days: &[i64]) -> ArrayRef {
    let micros = days.iter().map(|day| START + day * DAY);
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

/// Integers as a column.
pub fn ids(ids: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(ids.to_vec()))
}

/// The definitions; `commerce/user_age@1.0.0` has to be published.
pub const DEFINITIONS: &str = r#"
[entity.customer]
join_keys = { customer_id = "int64" }
owner = "ada@example.com"

[source.orders]
path = "orders.parquet"
timestamp = "ordered_at"

[feature_view.orders]
owner = "lin@example.com"
team = "commerce"
entities = ["customer"]
source = "orders"
ttl = "10d"
[feature_view.orders.features]
amount = { type = "float64", default = 0.0 }
last_order = { type = "timestamp", column = "ordered_at" }

[on_demand_feature_view.user_age]
transform = "commerce/user_age@1.0.0#years_since_registration"
inputs = { registered_at = "orders:last_order" }
[on_demand_feature_view.user_age.features]
user_age = { type = "float64", column = "years_since_registration" }

[feature_service.churn]
features = ["orders:amount", "user_age:user_age"]
"#;

/// A project with orders on days 0, 5 and 20 of 1998, an entity dataframe, and definitions in
/// force.
pub fn shop() -> Project {
    let project = Project::new();
    write_orders(&project, &[1, 1, 2, 3], &[0, 5, 5, 20], &[1.5, -0.0, 3.5, 4.5]);
    write_parquet(
        &project.path("entities.parquet"),
        &[("customer_id", ids(&[1, 2, 1, 9])), ("event_timestamp", days(&[6, 15, 0, 6]))],
    );
    project.publish("transforms/user_age");
    project.write("features/shop.toml", DEFINITIONS);
    project.ok(&["apply"]);
    project
}

/// Writes the orders of the shop.
pub fn write_orders(project: &Project, customers: &[i64], at: &[i64], amounts: &[f64]) {
    let amounts: ArrayRef = Arc::new(Float64Array::from(amounts.to_vec()));
    let columns = [("customer_id", ids(customers)), ("ordered_at", days(at)), ("amount", amounts)];
    write_parquet(&project.path("orders.parquet"), &columns);
}

/// Writes an entity dataframe of many rows, with a column that cannot be compressed.
pub fn write_many_entities(project: &Project, rows: u64) {
    let noise =
        (0..rows).map(|row| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (row << 31)).cast_signed());
    let noise: ArrayRef = Arc::new(Int64Array::from_iter_values(noise));
    let customers: ArrayRef =
        Arc::new(Int64Array::from_iter_values((0..rows).map(|row| (row % 4).cast_signed())));
    let times: Vec<i64> = (0..rows).map(|row| (row % 30).cast_signed()).collect();
    let columns = [("customer_id", customers), ("event_timestamp", days(&times)), ("noise", noise)];
    write_parquet(&project.path("entities.parquet"), &columns);
}
