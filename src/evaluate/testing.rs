//! A small project in force, for tests of everything that computes.

use std::{collections::BTreeMap, sync::Arc};

use super::{InForce, Library};
use crate::{
    definition::{
        Column, Environment, File, PinnedTransform, check,
        fingerprint::{Fingerprints, RuntimeRef},
        parse,
    },
    name::TransformName,
    value::{DataType, Field, Function},
    wasm::{
        Limits, Runtime, Transform,
        testing::{Guest, answer_int64, field, function},
    },
};

/// The entities, the source and two transforms that the declarations of a test can use.
///
/// Every function of `t/echo@1.0.0` gives back its inputs; `t/three@1.0.0#g` takes three rows and
/// gives 7, a row error and 9, whatever they are.
const GROUND: &str = r#"
[entity.customer]
join_keys = { customer_id = "int64" }

[entity.product]
join_keys = { product = "utf8" }

[source.orders]
path = "orders.parquet"
timestamp = "ordered_at"
created = "written_at"
"#;

/// The columns of every source.
const COLUMNS: [(&str, DataType); 6] = [
    ("customer_id", DataType::Int64),
    ("product", DataType::Utf8),
    ("ordered_at", DataType::Timestamp),
    ("written_at", DataType::Timestamp),
    ("amount", DataType::Int64),
    ("note", DataType::Utf8),
];

/// What is in force when these declarations are, beside those of the ground.
pub(crate) fn in_force(declarations: &str) -> InForce {
    let runtime = Runtime::new(Limits::default(), None).unwrap();
    let transforms = BTreeMap::from([
        load(&runtime, "t/echo@1.0.0", &echo()),
        load(&runtime, "t/three@1.0.0", &answer_int64(&three(), &[7, 8, 9], &[(1, "no eight")])),
    ]);
    let text = format!("{GROUND}{declarations}");
    let parsed = parse(vec![File { path: "features.toml".to_owned(), text }]);
    let state = check(parsed, &environment(&transforms)).unwrap_or_else(|problems| {
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", shown.join("\n"))
    });
    let profile = runtime.profile();
    let runtime = RuntimeRef { name: profile.name.clone(), digest: profile.digest };
    InForce {
        project: "shop".to_owned(),
        sequence: 1,
        fingerprints: Fingerprints::of(&state, &runtime).unwrap(),
        library: Library::of(transforms),
        runtime,
        state,
    }
}

fn load(runtime: &Runtime, name: &str, guest: &Guest) -> (TransformName, Arc<Transform>) {
    (name.parse().unwrap(), runtime.load(&guest.component()).unwrap())
}

fn echo() -> Guest {
    use DataType::{Int64, Timestamp, Utf8};
    let fields = |names: &[&str], types: &[DataType]| -> Vec<Field> {
        names.iter().zip(types).map(|(name, data_type)| field(name, *data_type, true)).collect()
    };
    let echo = |name, types: &[DataType]| {
        function(name, &fields(&["a", "b"], types), &fields(&["one", "two"], types))
    };
    Guest::echo(&[echo("f", &[Int64, Utf8]), echo("moment", &[Timestamp])])
}

fn three() -> Function {
    function("g", &[field("a", DataType::Int64, true)], &[field("one", DataType::Int64, true)])
}

fn environment(transforms: &BTreeMap<TransformName, Arc<Transform>>) -> Environment {
    let column = |(name, data_type): (&str, DataType)| (name.to_owned(), Column::Of(data_type));
    let columns = || Ok(COLUMNS.into_iter().map(column).collect());
    let pinned = |(name, transform): (&TransformName, &Arc<Transform>)| {
        let (digest, functions) = (transform.digest(), transform.functions().to_vec());
        (name.clone(), Ok(PinnedTransform { digest, functions }))
    };
    Environment {
        sources: ["orders", "late", "visits"].map(|name| (name.to_owned(), columns())).into(),
        transforms: transforms.iter().map(pinned).collect(),
        stores: ["weak".to_owned()].into(),
        ..Environment::default()
    }
}
