//! A small state for tests.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    definition::{Definitions, PinnedTransform, State},
    digest::Digest,
    name::TransformName,
    value::{DataType, Field, Function},
};

/// A customer's purchases, baskets and age.
pub(super) fn state() -> State {
    let about = |description: &str| json!({ "description": description, "owner": "ada@example.com", "team": "growth" });
    let with = |mut value: serde_json::Value, more: serde_json::Value| {
        let more = more.as_object().cloned().unwrap();
        value.as_object_mut().unwrap().extend(more);
        value
    };
    let definitions = json!({
        "entities": {
            "customer": with(about("Somebody who buys."), json!({ "join_keys": { "customer_id": "int64" } })),
        },
        "sources": {
            "orders": with(about("Every purchase."), json!({
                "path": "data/orders.parquet", "timestamp": "ordered_at", "visible": "event",
            })),
        },
        "feature_views": {
            "purchases": with(about("What a customer did spend."), json!({
                "entities": ["customer"], "source": "orders", "ttl": "365d", "online": true,
                "tags": ["money"],
                "features": {
                    "spend_30d": { "type": "float64", "column": "spend", "default": { "type": "float64", "value": 0.0 }, "description": "In dollars." },
                    "first_purchase_at": { "type": "timestamp", "column": "first" },
                },
            })),
            "basket": with(about(""), json!({
                "entities": ["customer"], "source": "orders", "online": false,
                "transform": {
                    "function": "commerce/basket@1.0.0#basket",
                    "inputs": { "items": "items" },
                },
                "features": { "unit_price": { "type": "float64", "column": "price" } },
            })),
        },
        "on_demand_feature_views": {
            "user_age": with(about("How long somebody has been with us."), json!({
                "transform": {
                    "function": "commerce/user_age@1.0.0#years_since_registration",
                    "inputs": {
                        "registered_at": { "feature": "purchases:first_purchase_at" },
                        "event_time": "event_time",
                    },
                },
                "features": { "years": { "type": "float64", "column": "years" } },
            })),
        },
        "feature_services": {
            "churn": { "owner": "growth@example.com", "features": ["purchases:spend_30d", "user_age:years"] },
        },
    });
    let definitions: Definitions = serde_json::from_value(definitions).unwrap();
    State { definitions, transforms: transforms() }
}

fn transforms() -> BTreeMap<TransformName, PinnedTransform> {
    let basket = function(
        "basket",
        "Price and size.",
        &[("items", DataType::Int64)],
        ("price", "The mean price of an item."),
    );
    let years = function(
        "years_since_registration",
        "Years of the Gregorian calendar.",
        &[("registered_at", DataType::Timestamp), ("event_time", DataType::Timestamp)],
        ("years", ""),
    );
    let pinned = |name: &str, function| {
        let digest = Digest::of(name);
        (name.parse().unwrap(), PinnedTransform { digest, functions: vec![function] })
    };
    BTreeMap::from([
        pinned("commerce/basket@1.0.0", basket),
        pinned("commerce/user_age@1.0.0", years),
    ])
}

fn function(
    name: &str,
    documentation: &str,
    inputs: &[(&str, DataType)],
    output: (&str, &str),
) -> Function {
    let field = |name: &str, data_type, documentation: &str| Field {
        name: name.to_owned(),
        data_type,
        nullable: false,
        documentation: documentation.to_owned(),
    };
    Function {
        name: name.to_owned(),
        documentation: documentation.to_owned(),
        params: Vec::new(),
        inputs: inputs.iter().map(|(name, data_type)| field(name, *data_type, "")).collect(),
        outputs: vec![field(output.0, DataType::Float64, output.1)],
    }
}
