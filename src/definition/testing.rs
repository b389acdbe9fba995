//! A small project for tests, to be edited by replacing parts of its text.

use std::collections::BTreeMap;

use super::{CallLimits, Column, Environment, File, PinnedTransform, Problem, State, check, parse};
use crate::{
    digest::Digest,
    error::Error,
    value::{DataType, Field, Function},
};

const CUSTOMER: &str = r#"
[entity.customer]
join_keys = { customer_id = "int64" }
description = "Somebody who buys."
owner = "growth@example.com"
team = "growth"
tags = ["core", "people"]

[source.orders]
path = "data/orders.parquet"
timestamp = "ordered_at"
created = "written_at"

[source.history]
sql = """
SELECT customer_id, ordered_at, spend
FROM orders
"""
timestamp = "ordered_at"

[feature_view.purchases]
entities = ["customer"]
source = "history"
ttl = "365d"

[feature_view.purchases.features]
purchases_30d = "int64"
spend_30d = { type = "float64", column = "spend", default = 0, description = "In dollars." }
first_purchase_at = "timestamp"
"#;

const MODELS: &str = r#"
[feature_view.basket]
entities = ["customer"]
source = "orders"
transform = "commerce/basket@1.0.0#basket"
inputs = { amount = "amount_usd" }
params = { mean = 37.2 }
on_error = "fail"
features = { unit_price = "float64" }

[on_demand_feature_view.user_age]
transform = "commerce/user_age@1.0.0#years_since"
inputs = { moment = "purchases:first_purchase_at" }
features = { age = { type = "float64", column = "years" } }

[on_demand_feature_view.risk]
transform = "commerce/user_age@1.0.0#risk"
inputs = { age = "user_age:age", amount = "request:amount" }
features = { score = { type = "float64", default = 0.5 } }

[feature_service.churn]
features = ["purchases:spend_30d", "basket", "risk:score"]
"#;

/// The files of the project.
pub(super) fn files() -> Vec<File> {
    let file =
        |(path, text): (&str, &str)| File { path: path.into(), text: text.trim_start().into() };
    [("customer.toml", CUSTOMER), ("models.toml", MODELS)].map(file).to_vec()
}

fn fields(fields: &[(&str, DataType)]) -> Vec<Field> {
    let field = |(name, data_type): &(&str, DataType)| Field {
        name: (*name).into(),
        data_type: *data_type,
        nullable: false,
        documentation: String::new(),
    };
    fields.iter().map(field).collect()
}

fn function(
    name: &str,
    params: &[(&str, DataType)],
    inputs: &[(&str, DataType)],
    outputs: &[(&str, DataType)],
) -> Function {
    Function {
        name: name.into(),
        documentation: String::new(),
        params: fields(params),
        inputs: fields(inputs),
        outputs: fields(outputs),
    }
}

/// What the project finds when it looks around.
pub(super) fn environment() -> Environment {
    use DataType::{Float64, Int32, Int64, Timestamp, Utf8};
    let orders = [
        ("customer_id", Column::Of(Int32)),
        ("ordered_at", Column::Of(Timestamp)),
        ("written_at", Column::Of(Timestamp)),
        ("items", Column::Of(Int32)),
        ("amount_usd", Column::Of(Float64)),
        ("tax", Column::Of(Float64)),
        ("country", Column::Of(Utf8)),
        ("price", Column::Unsupported("Decimal128(10, 2)".into())),
    ];
    let history = [
        ("customer_id", Column::Of(Int64)),
        ("ordered_at", Column::Of(Timestamp)),
        ("spend", Column::Of(Float64)),
        ("more", Column::Of(Float64)),
        ("purchases_30d", Column::Of(Int64)),
        ("first_purchase_at", Column::Of(Timestamp)),
    ];
    let columns = |columns: &[(&str, Column)]| {
        let columns = columns.iter();
        Ok(columns.map(|(name, column)| ((*name).into(), column.clone())).collect())
    };
    let basket = function(
        "basket",
        &[("mean", Float64)],
        &[("items", Int64), ("amount", Float64), ("event_time", Timestamp)],
        &[("unit_price", Float64), ("size", Int64)],
    );
    let years_since = function(
        "years_since",
        &[],
        &[("moment", Timestamp), ("event_time", Timestamp)],
        &[("years", Float64), ("days", Float64)],
    );
    let risk =
        function("risk", &[], &[("age", Float64), ("amount", Float64)], &[("score", Float64)]);
    Environment {
        sources: BTreeMap::from([
            ("orders".into(), columns(&orders)),
            ("history".into(), columns(&history)),
            ("raw".into(), columns(&orders)),
            ("clean".into(), columns(&history)),
            (
                "lost".into(),
                Err(Error::not_found("no such file").with_hint("there are: orders.parquet")),
            ),
        ]),
        transforms: BTreeMap::from([
            pinned("commerce/basket@1.0.0", vec![basket.clone()]),
            pinned("commerce/basket@1.1.0", vec![basket]),
            pinned("commerce/user_age@1.0.0", vec![years_since.clone(), risk.clone()]),
            pinned("commerce/user_age@1.1.0", vec![years_since, risk]),
            (
                "commerce/user_age@2.0.0".parse().unwrap(),
                Err(Error::not_found("not published").with_hint("the latest is 1.0.0")),
            ),
        ]),
        locked: BTreeMap::new(),
        stores: ["fraud".to_owned()].into(),
        limits: CallLimits { rows: Some(1_000), ..CallLimits::default() },
    }
}

fn pinned(
    name: &str,
    functions: Vec<Function>,
) -> (crate::name::TransformName, Result<PinnedTransform, Error>) {
    let pinned = PinnedTransform { digest: Digest::of(name), functions };
    (name.parse().unwrap(), Ok(pinned))
}

/// The files after each first text was replaced by its second.
pub(super) fn edited(edits: &[(&str, &str)]) -> Vec<File> {
    let mut files = files();
    for (old, new) in edits {
        let found = files.iter_mut().find(|file| file.text.contains(old));
        let file = found.unwrap_or_else(|| panic!("nowhere: {old:?}"));
        file.text = file.text.replacen(old, new, 1);
    }
    files
}

/// What a check of the edited project says.
pub(super) fn checked(edits: &[(&str, &str)]) -> Result<State, Vec<Problem>> {
    check(parse(edited(edits)), &environment())
}

/// The edited project, in which nothing is wrong.
pub(super) fn state(edits: &[(&str, &str)]) -> State {
    checked(edits).unwrap_or_else(|problems| panic!("{}", shown(&problems)))
}

/// The problems as they are shown, one after the other.
pub(super) fn shown(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
