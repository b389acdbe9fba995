//! What changes a fingerprint, what does not, and how a change is explained.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::{
    definition::{Input, testing::state},
    error::Kind,
};

fn runtime(name: &str) -> RuntimeRef {
    RuntimeRef { name: name.into(), digest: Digest::of(name) }
}

fn prints(state: &State) -> Fingerprints {
    Fingerprints::of(state, &runtime("one")).unwrap()
}

/// The features whose fingerprints differ, or that only one side has.
fn changed(was: &Fingerprints, is: &Fingerprints) -> String {
    let all: BTreeSet<_> = was.features.keys().chain(is.features.keys()).collect();
    let changed = all.into_iter().filter(|feature| was.feature(feature) != is.feature(feature));
    changed.map(FeatureRef::to_string).collect::<Vec<_>>().join(" ")
}

/// Compares the project with the edited project.
fn check(edits: &[(&str, &str)], expect: &str) {
    let edited = state(edits);
    assert_ne!(edited, state(&[]), "{edits:?} is an edit");
    assert_eq!(changed(&prints(&state(&[])), &prints(&edited)), expect, "after {edits:?}");
}

const ALL: &str = "basket:unit_price purchases:first_purchase_at purchases:purchases_30d \
                   purchases:spend_30d risk:score user_age:age";
const PURCHASES: &str = "purchases:first_purchase_at purchases:purchases_30d purchases:spend_30d \
                         risk:score user_age:age";

#[test]
fn what_is_only_said_changes_nothing() {
    for (old, new) in [
        ("Somebody who buys.", "Who buys."),
        ("growth@example.com", "me@example.com"),
        ("team = \"growth\"", "team = \"core\""),
        ("\"people\"", "\"persons\""),
        ("In dollars.", "In cents."),
        ("ttl = \"365d\"", "ttl = \"365d\"\nonline = false"),
        ("ttl = \"365d\"", "ttl = \"365d\"\nfreshness = { max_age = \"1d\" }"),
        ("ttl = \"365d\"", "ttl = \"365d\"\nstore = \"fraud\""),
        ("on_error = \"fail\"", "on_error = \"fail\"\nlimits = { rows = 7, deadline = \"9ms\" }"),
        ("[feature_service.churn]", "[feature_service.leaving]"),
        ("\"request:amount\"", "\"request:order_amount\""),
    ] {
        check(&[(old, new)], "");
    }
}

#[test]
fn names_change_nothing() {
    check(
        &[
            ("entity.customer", "entity.person"),
            ("\"customer\"", "\"person\""),
            ("\"customer\"", "\"person\""),
        ],
        "",
    );
    let renamed = state(&[
        ("[on_demand_feature_view.user_age]", "[on_demand_feature_view.years]"),
        ("features = { age =", "features = { old ="),
        ("\"user_age:age\"", "\"years:old\""),
    ]);
    let (was, is) = (prints(&state(&[])), prints(&renamed));
    assert_eq!(changed(&was, &is), "user_age:age years:old");
    let feature = |text: &str| text.parse::<FeatureRef>().unwrap();
    assert_eq!(was.feature(&feature("user_age:age")), is.feature(&feature("years:old")));
}

#[test]
fn the_order_of_entities_changes_nothing() {
    let two = |entities| {
        let entity = "[entity.shop]\njoin_keys = { items = \"int64\" }\n\n[source.orders]";
        let source = "source = \"orders\"\ntransform";
        let old = format!("entities = [\"customer\"]\n{source}");
        let new = format!("entities = {entities}\n{source}");
        prints(&state(&[("[source.orders]", entity), (&old, &new)]))
    };
    let (one, other) = (two("[\"customer\", \"shop\"]"), two("[\"shop\", \"customer\"]"));
    assert_eq!(one.features, other.features);
    assert_eq!(changed(&prints(&state(&[])), &one), "basket:unit_price");
}

/// Edits of what decides values, each with the features that it changes.
pub(in crate::definition) const EDITS: &[(&str, &str, &str)] = &[
    ("path = \"data/orders.parquet\"", "path = \"data/all.parquet\"", ALL),
    ("created = \"written_at\"\n", "", "basket:unit_price"),
    (
        "created = \"written_at\"",
        "created = \"written_at\"\nvisible = \"created\"",
        "basket:unit_price",
    ),
    ("timestamp = \"ordered_at\"", "timestamp = \"written_at\"", "basket:unit_price"),
    ("ordered_at, spend\n", "ordered_at, spend / 2\n", PURCHASES),
    ("ttl = \"365d\"", "ttl = \"366d\"", PURCHASES),
    ("ttl = \"365d\"\n", "", PURCHASES),
    ("column = \"spend\"", "column = \"more\"", "purchases:spend_30d"),
    ("default = 0", "default = 1", "purchases:spend_30d"),
    ("default = 0, ", "", "purchases:spend_30d"),
    ("customer_id = \"int64\"", "customer_id = \"int64\", ordered_at = \"timestamp\"", ALL),
    ("basket@1.0.0", "basket@1.1.0", "basket:unit_price"),
    ("amount_usd", "tax", "basket:unit_price"),
    ("37.2", "37.3", "basket:unit_price"),
    ("\"fail\"", "\"null\"", "basket:unit_price"),
    ("column = \"years\"", "column = \"days\"", "risk:score user_age:age"),
    ("default = 0.5", "default = 0.25", "risk:score"),
    ("\"request:amount\"", "\"user_age:age\"", "risk:score"),
];

#[test]
fn what_decides_a_value_changes_all_that_builds_on_it() {
    for (old, new, expect) in EDITS {
        check(&[(old, new)], expect);
    }
}

#[test]
fn the_runtime_changes_what_a_transform_computes() {
    let state = state(&[]);
    let other = Fingerprints::of(&state, &runtime("two")).unwrap();
    assert_eq!(changed(&prints(&state), &other), "basket:unit_price risk:score user_age:age");
    let renamed = RuntimeRef { name: "another".into(), ..runtime("one") };
    assert_eq!(changed(&prints(&state), &Fingerprints::of(&state, &renamed).unwrap()), "");
}

#[test]
fn a_version_of_the_same_bytes_changes_nothing() {
    let mut again = state(&[("basket@1.0.0", "basket@1.1.0")]);
    let was = state(&[]);
    let digest = was.transforms[&"commerce/basket@1.0.0".parse().unwrap()].digest;
    let pinned = again.transforms.get_mut(&"commerce/basket@1.1.0".parse().unwrap());
    pinned.unwrap().digest = digest;
    assert_eq!(changed(&prints(&was), &prints(&again)), "");
    assert_eq!(prints(&again).labels()[&digest], "commerce/basket@1.1.0");
}

#[test]
fn queries_count_with_the_sources_they_mention() {
    let chain = |path: &str, query: &str| {
        let sources = format!(
            "[source.raw]\npath = \"{path}\"\ntimestamp = \"ordered_at\"\n\n\
             [source.clean]\nsql = \"{query}\"\ntimestamp = \"ordered_at\"\n\n[source.orders]"
        );
        let edits = [("[source.orders]", sources.as_str()), ("\nFROM orders\n", "\nFROM Clean\n")];
        prints(&state(&edits))
    };
    let was = chain("a", "SELECT * FROM raw");
    assert_eq!(changed(&was, &chain("b", "SELECT * FROM raw")), PURCHASES, "by way of clean");
    assert_eq!(changed(&was, &chain("a", "SELECT 1 FROM raw")), PURCHASES);
    let round = |path| chain(path, "SELECT history FROM raw");
    assert_eq!(changed(&round("a"), &round("b")), PURCHASES, "a circle of words ends");
    let unread = |path| chain(path, "SELECT * FROM other_raw");
    assert_eq!(changed(&unread("a"), &unread("b")), "", "a part of a word is no mention");
}

#[test]
fn documents_are_what_their_digests_say() {
    let prints = prints(&state(&[]));
    check_documents(prints.documents()).unwrap();
    let age = prints.feature(&"user_age:age".parse().unwrap()).unwrap();
    let mut closure = prints.closure(&[age]);
    assert_eq!(closure.len(), 4, "the feature, the one it reads, its rows, their source");
    closure.insert(age, json!({}));
    assert_eq!(check_documents(&closure).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn states_that_were_never_checked_are_refused() {
    let refused = |edit: fn(&mut State)| {
        let mut state = state(&[]);
        edit(&mut state);
        let error = Fingerprints::of(&state, &runtime("one")).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        error.to_string()
    };
    assert_eq!(
        refused(|state| drop(state.definitions.sources.remove("orders"))),
        "basket: orders is used and is not there"
    );
    assert_eq!(
        refused(|state| state.transforms.clear()),
        "basket: commerce/basket@1.0.0 is used and is not there"
    );
    assert_eq!(
        refused(|state| {
            let views = &mut state.definitions.on_demand_feature_views;
            let read = Input::Feature("risk:score".parse().unwrap());
            views.get_mut("user_age").unwrap().transform.inputs.insert("moment".into(), read);
        }),
        "risk reads a feature that is not there, or itself by way of others"
    );
}

/// What makes a feature differ, with names for digests.
fn explained(feature: &str, was: &Fingerprints, is: &Fingerprints) -> Vec<String> {
    let feature = feature.parse().unwrap();
    let (trained, now) = (was.feature(&feature).unwrap(), is.feature(&feature).unwrap());
    let differences = explain(&trained, &was.closure(&[trained]), &now, &is.closure(&[now]));
    let show = |found: &Difference| {
        let mut text = format!("{:?} {found}", found.class);
        for prints in [was, is] {
            for (digest, label) in &prints.labels {
                text = text.replace(&digest.to_string(), label);
            }
            for (feature, digest) in &prints.features {
                text = text.replace(&digest.to_string(), &feature.to_string());
            }
        }
        text
    };
    differences.iter().map(show).collect()
}

#[test]
fn differences_are_found_where_they_are() {
    let before = [("\"request:amount\"", "\"basket:unit_price\"")];
    let was = prints(&state(&before));
    let check = |edits: &[(&str, &str)], expect: &[&str]| {
        let edits = [&before, edits].concat();
        let found = explained("risk:score", &was, &prints(&state(&edits)));
        assert_eq!(found, expect, "after {edits:?}");
    };
    check(&[], &[]);
    check(&[("column = \"spend\"", "column = \"more\"")], &[]);
    check(
        &[("ttl = \"365d\"\n", ""), ("default = 0.5", "default = 1")],
        &[
            "Definition default.value: 0.5 → 1.0",
            "Definition inputs.age.inputs.moment.ttl: 365d → nothing",
        ],
    );
    check(
        &[("\"user_age:age\"", "\"request:age\"")],
        &["Definition inputs.age: user_age:age → {\"request\":\"float64\"}"],
    );
    check(
        &[("basket@1.0.0", "basket@1.1.0"), ("37.2", "40")],
        &[
            "Definition inputs.amount.rows.params.mean.value: 37.2 → 40.0",
            "Transform inputs.amount.rows.transform.digest: \
             commerce/basket@1.0.0 → commerce/basket@1.1.0",
        ],
    );
    check(
        &[("user_age@1.0.0#years_since", "user_age@1.1.0#years_since")],
        &[
            "Transform inputs.age.transform.digest: commerce/user_age@1.0.0 → commerce/user_age@1.1.0",
        ],
    );
    check(
        &[(
            "inputs = { moment = \"purchases:first_purchase_at\" }",
            "inputs = { moment = \"event_time\" }",
        )],
        &["Definition inputs.age.inputs.moment: purchases:first_purchase_at → event_time"],
    );
    check(
        &[("path = \"data/orders.parquet\"", "path = \"data/all.parquet\"")],
        &[
            "Definition inputs.age.inputs.moment.rows.source.sources.orders.path: \
             data/orders.parquet → data/all.parquet",
            "Definition inputs.amount.rows.source.data.path: data/orders.parquet → data/all.parquet",
        ],
    );
}

#[test]
fn another_runtime_is_told_apart() {
    let state = state(&[]);
    let other = Fingerprints::of(&state, &runtime("two")).unwrap();
    assert_eq!(
        explained("risk:score", &prints(&state), &other),
        ["Runtime inputs.age.runtime: one → two", "Runtime runtime: one → two"]
    );
}

#[test]
fn features_of_two_kinds_differ_in_their_kind() {
    let was = prints(&state(&[]));
    let (stored, on_demand) =
        ("basket:unit_price".parse().unwrap(), "user_age:age".parse().unwrap());
    let (stored, on_demand) = (was.feature(&stored).unwrap(), was.feature(&on_demand).unwrap());
    let differences = explain(&stored, was.documents(), &on_demand, was.documents());
    let shown: Vec<_> = differences.iter().map(Difference::to_string).collect();
    assert_eq!(shown, ["kind: feature → on_demand_feature"]);
}

#[test]
fn documents_from_outside_cannot_keep_it_busy() {
    let (a, b) = (Digest::of("a"), Digest::of("b"));
    let alone = explain(&a, &Documents::new(), &b, &Documents::new());
    assert_eq!(alone.len(), 1);
    assert_eq!(alone[0].to_string(), format!("fingerprint: {a} → {b}"));
    let circle = |digest: Digest| Documents::from([(digest, json!({ "rows": digest }))]);
    assert_eq!(explain(&a, &circle(a), &b, &circle(b)), []);
}
