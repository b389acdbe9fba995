//! What is said about a change.

use super::*;
use crate::{
    definition::{
        fingerprint::{Fingerprints, RuntimeRef, tests::EDITS},
        testing::state,
    },
    digest::Digest,
};

fn diff(edits: &[(&str, &str)]) -> Diff {
    Diff::between(&state(&[]), &state(edits))
}

fn check(edits: &[(&str, &str)], expect: &str) {
    assert_eq!(diff(edits).to_string(), expect.trim(), "after {edits:?}");
}

#[test]
fn nothing() {
    check(&[], "Nothing to change.");
    check(&[("\nFROM orders\n", "\nFROM orders\n\n")], "Nothing to change.");
    assert!(diff(&[]).is_empty());
}

#[test]
fn fields_of_feature_views() {
    check(
        &[
            ("ttl = \"365d\"", "ttl = \"60d\""),
            ("default = 0, description = \"In dollars.\"", "default = 1"),
            (
                "purchases_30d = \"int64\"",
                "purchases_7d = { type = \"int64\", column = \"purchases_30d\" }",
            ),
        ],
        r#"
~ feature_view.purchases
    - features.purchases_30d: int64
    + features.purchases_7d: int64
    + features.purchases_7d.column: purchases_30d
    ~ features.spend_30d.default: 0.0 → 1.0
    - features.spend_30d.description: In dollars.
    ~ ttl: 365d → 60d
    reaches feature_service churn

Plan: 0 to add, 1 to change, 0 to remove.
"#,
    );
}

#[test]
fn another_version_of_a_transform() {
    let [old, new] =
        ["1.0.0", "1.1.0"].map(|version| Digest::of(format!("commerce/basket@{version}")).short());
    check(
        &[
            ("basket@1.0.0", "basket@1.1.0"),
            ("37.2", "40"),
            ("on_error = \"fail\"\n", ""),
            ("amount_usd", "tax"),
        ],
        &format!(
            r#"
~ feature_view.basket
    ~ digest: {old} → {new}
    ~ inputs.amount: amount_usd → tax
    - on_error: fail
    ~ params.mean: 37.2 → 40.0
    ~ transform: commerce/basket@1.0.0#basket → commerce/basket@1.1.0#basket
    reaches feature_service churn

Plan: 0 to add, 1 to change, 0 to remove.
"#
        ),
    );
}

#[test]
fn what_is_only_said_reaches_nobody() {
    check(
        &[
            ("owner = \"growth@example.com\"", "owner = \"me\""),
            ("\"core\", \"people\"", "\"core\", \"who\", \"people\""),
            ("In dollars.", "In cents."),
        ],
        r#"
~ entity.customer
    ~ owner: growth@example.com → me
    ~ tags:
        + who
~ feature_view.purchases
    ~ features.spend_30d.description: In dollars. → In cents.

Plan: 0 to add, 2 to change, 0 to remove.
"#,
    );
}

#[test]
fn queries_are_compared_line_by_line() {
    check(
        &[("spend\nFROM", "spend * 2 AS spend\nFROM")],
        r#"
~ source.history
    ~ sql:
        - SELECT customer_id, ordered_at, spend
        + SELECT customer_id, ordered_at, spend * 2 AS spend
    reaches feature_service churn

Plan: 0 to add, 1 to change, 0 to remove.
"#,
    );
}

#[test]
fn what_comes_and_goes() {
    check(
        &[
            ("[on_demand_feature_view.user_age]", "[on_demand_feature_view.years]"),
            ("\"user_age:age\"", "\"years:age\""),
            ("\"basket\", \"risk:score\"", "\"risk:score\""),
            (
                "[feature_service.churn]",
                "[feature_service.all]\nfeatures = [\"years\"]\n\n[feature_service.churn]",
            ),
        ],
        r#"
~ on_demand_feature_view.risk
    ~ inputs.age: user_age:age → years:age
    reaches feature_service churn
- on_demand_feature_view.user_age
    reaches feature_service churn
+ on_demand_feature_view.years
+ feature_service.all
~ feature_service.churn
    ~ features:
        - basket:unit_price

Plan: 2 to add, 2 to change, 1 to remove.
"#,
    );
}

#[test]
fn programs_read_it_as_json() {
    let diff = diff(&[("ttl = \"365d\"\n", "online = false\n")]);
    assert_eq!(
        serde_json::to_value(diff).unwrap(),
        serde_json::json!({
            "add": 0, "change": 1, "remove": 0,
            "changes": [{
                "action": "change",
                "kind": "feature_view",
                "name": "purchases",
                "fields": [{ "field": "online", "is": "false" }, { "field": "ttl", "was": "365d" }],
                "services": ["churn"],
            }],
        })
    );
}

#[test]
fn no_change_of_values_goes_unseen() {
    let runtime = RuntimeRef { name: "runtime".into(), digest: Digest::of("runtime") };
    let old = state(&[]);
    let before = Fingerprints::of(&old, &runtime).unwrap();
    for (from, to, _) in EDITS {
        let new = state(&[(from, to)]);
        let after = Fingerprints::of(&new, &runtime).unwrap();
        let churn = &new.definitions.feature_services["churn"].features;
        let changed = churn.iter().any(|feature| before.feature(feature) != after.feature(feature));
        let diff = Diff::between(&old, &new);
        let reached = diff.changes.iter().any(|change| change.services.contains("churn"));
        assert!(reached || !changed, "after {from:?} to {to:?}: {diff}");
        assert!(!diff.is_empty(), "after {from:?} to {to:?}");
    }
}
