//! The commands that the other tests do not run, as a new user would.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, TimestampMicrosecondArray};
use serde_json::{Value, json};

use crate::{
    shop::shop,
    support::{Project, checkout, write_parquet},
};

fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{said:?} should contain {part:?}");
    }
}

#[test]
fn a_project_is_made_once() {
    let project = Project::new();
    says(&project.ok(&["init", "my-shop"]), &["made project my_shop"]);
    says(&project.ok(&["--project", "my-shop", "plan"]), &["Nothing to change."]);
    says(&project.fails(2, &["init", "my-shop"]), &["unskew.toml is there already"]);
    says(
        &project.fails(2, &["init", "9shop"]),
        &["\"9shop\" cannot be a project's name", "--name"],
    );
    says(&project.fails(2, &["--project", "features", "plan"]), &["features/unskew.toml"]);
}

#[test]
fn a_transform_from_its_first_line_to_the_registry() {
    let project = Project::new();
    let sdk = checkout().join("sdk/rust");
    let made = ["transform", "new", "part", "--team", "tests", "--sdk", sdk.to_str().unwrap()];
    let mut nowhere = made;
    nowhere[6] = "nowhere";
    says(&project.fails(2, &nowhere), &["nothing made: no crate in nowhere", "hint: --sdk names"]);
    assert!(!project.path("part").exists());
    says(&project.fails(2, &["transform", "test", "part"]), &["error: no crate in part"]);
    says(&project.ok(&made), &["made tests/part@0.1.0"]);
    says(&project.fails(2, &made), &["part is there already"]);
    let tested = project.json(&["transform", "test", "part", "--no-native"]);
    assert_eq!((&tested["passed"], &tested["failures"]), (&json!(2), &json!([])));
    let cases = "[[case]]\nfunction = \"ratio\"\ninputs = { part = 1.0, whole = 3.0 }\noutputs = { ratio = 0.3333 }\n";
    project.write("part/cases.toml", cases);
    let output = project.run(&["transform", "test", "part", "--no-native"]);
    assert_eq!(output.status.code(), Some(1));
    says(
        &String::from_utf8(output.stdout).unwrap(),
        &["cases.toml, case 1 of ratio: expected ratio = 0.3333, got ratio = 0.3333333333333333"],
    );
    // A component that does not give its cases leaves nothing in the registry.
    let refused = project.fails(2, &["transform", "publish", "part"]);
    says(&refused, &["tests/part@0.1.0 not published: the check \"cases\" fails: 1 fail"]);
    assert!(!project.path("registry/components").exists());
    assert!(!project.path("registry/transforms").exists());
    let typo = cases.replace("whole", "hole");
    project.write("part/cases.toml", &typo);
    let output = project.run(&["transform", "test", "part", "--no-native"]);
    assert_eq!(output.status.code(), Some(1));
    says(
        &String::from_utf8(output.stdout).unwrap(),
        &["no input \"hole\"", "did you mean \"whole\"?"],
    );
    project.write("part/cases.toml", &cases.replace("0.3333", "0.3333333333333333"));
    let published = project.json(&["transform", "publish", "part"]);
    assert_eq!((&published["new"], &published["checked"]["cases"]), (&json!(true), &json!(1)));
    let again = project.json(&["transform", "publish", "part"]);
    assert_eq!((&again["new"], &again["other_cases"]), (&json!(false), &json!(false)));
    // Other cases are not kept with a version that is there, and that is said.
    project.write("part/cases.toml", cases);
    let again = project.ok(&["transform", "publish", "part"]);
    says(&again, &["published already", "\nits golden cases stay those it was published with"]);
    let inspected = project.ok(&["transform", "inspect", "tests/part@0.1.0"]);
    says(
        &inspected,
        &[
            "ratio(part: float64, whole: float64) -> (ratio: float64?)",
            "The part of the whole",
            "no imports",
            "uses of WebAssembly bulk_memory",
            "1 golden cases pass",
            "pure in 129 rows",
            "instructions: ",
        ],
    );
    let report = project.json(&["transform", "inspect", "tests/part@0.1.0"]);
    assert_eq!(report["checked"], published["checked"]);
    // The next version says which cases of the one before change.
    let source = std::fs::read_to_string(project.path("part/src/lib.rs")).unwrap();
    project.write("part/src/lib.rs", &source.replace("part / whole)", "part / whole * 100.0)"));
    let manifest = std::fs::read_to_string(project.path("part/Cargo.toml")).unwrap();
    project.write("part/Cargo.toml", &manifest.replace("0.1.0", "0.1.1"));
    std::fs::remove_file(project.path("part/Cargo.lock")).unwrap();
    project.write("part/cases.toml", "");
    let published = project.ok(&["transform", "publish", "part"]);
    says(
        &published,
        &[
            "of the 1 golden cases of tests/part@0.1.0, 1 change",
            "case 1 of ratio: expected ratio = 0.3333333333333333, got ratio = 33.33333333333333",
        ],
    );
    says(&project.ok(&["transform", "list"]), &["tests/part@0.1.0"]);
    let floats = |values: [f64; 3]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
    let rows = [("part", floats([1.0, 2.0, 0.0])), ("whole", floats([4.0, 3.0, 5.0]))];
    write_parquet(&project.path("rows.parquet"), &rows);
    let diff =
        ["transform", "diff", "tests/part@0.1.0", "tests/part@0.1.1", "--data", "rows.parquet"];
    let output = project.run(&diff);
    assert_eq!(output.status.code(), Some(1));
    says(
        &String::from_utf8(output.stdout).unwrap(),
        &[
            "ratio: 2 of 3 rows change",
            "row 0: part = 1.0, whole = 4.0\n    before: ratio = 0.25\n    after:  ratio = 25.0",
        ],
    );
    let same = ["transform", "diff", "tests/part@0.1.0", "part", "--data", "rows.parquet"];
    assert_eq!(project.run(&same).status.code(), Some(1));
    let same = ["transform", "diff", "tests/part@0.1.1", "part", "--data", "rows.parquet"];
    assert_eq!(project.json(&same)["identical"], true);
    write_parquet(&project.path("short.parquet"), &rows[..1]);
    let short = ["transform", "diff", "tests/part@0.1.0", "part", "--data", "short.parquet"];
    says(&project.fails(2, &short), &["short.parquet has no column \"whole\" for ratio"]);
    says(
        &project.fails(2, &["transform", "inspect", "tests/part@0.2.0"]),
        &["has the versions 0.1.0, 0.1.1"],
    );
    says(
        &project
            .fails(2, &["transform", "run", "tests/part@0.1.0", "--input", "x", "--output", "y"]),
        &["not a function"],
    );
}

#[test]
fn a_plan_says_what_changes_and_whom_it_reaches() {
    let project = shop();
    says(&project.ok(&["plan"]), &["Nothing to change."]);
    let text = std::fs::read_to_string(project.path("features/shop.toml")).unwrap();
    project.write("features/shop.toml", &text.replace("ttl = \"10d\"", "ttl = \"11d\""));
    let plan = project.ok(&["plan"]);
    says(
        &plan,
        &[
            "~ feature_view.orders",
            "ttl: 10d → 11d",
            "churn",
            "Plan: 0 to add, 1 to change, 0 to remove.",
        ],
    );
    let lock = std::fs::read_to_string(project.path("unskew.lock")).unwrap();
    says(&lock, &["commerce/user_age@1.0.0", "sha256:"]);
    let other = format!("sha256:{}", "0".repeat(64));
    let start = lock.find("sha256:").unwrap();
    let altered = lock.replace(&lock[start..start + other.len()], &other);
    project.write("unskew.lock", &altered);
    says(&project.fails(2, &["apply"]), &["commerce/user_age@1.0.0", &other]);
}

#[test]
fn the_catalog_finds_who_has_built_it() {
    let project = shop();
    says(&project.ok(&["catalog", "search", "user", "age"]), &["user_age"]);
    let card = project.ok(&["catalog", "show", "user_age:user_age"]);
    says(
        &card,
        &["commerce/user_age@1.0.0#years_since_registration", "sha256:", "churn", "float64"],
    );
    says(
        &project.ok(&["catalog", "show", "orders:amount"]),
        &["lin@example.com", "commerce", "10d", "orders"],
    );
    says(&project.ok(&["catalog", "list"]), &["orders", "user_age"]);
    assert_eq!(project.run(&["catalog", "search", "nothing_like_it"]).status.code(), Some(1));
    let listed: Value = project.json(&["catalog", "list"]);
    assert!(listed.as_array().is_some_and(|entries| !entries.is_empty()), "{listed}");
}

#[test]
fn a_diff_says_whom_it_reaches() {
    let project = shop();
    let times: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![0, 86_400_000_000]).with_timezone("UTC"));
    let later: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![31_556_952_000_000; 2]).with_timezone("UTC"));
    let rows = [("registered_at", times), ("event_time", later)];
    write_parquet(&project.path("rows.parquet"), &rows);
    let other = checkout().join("examples/cdnow/transforms/user_age_v2");
    let other = other.to_str().unwrap();
    let diff =
        ["transform", "diff", "commerce/user_age@1.0.0", other, "--data", "rows.parquet", "--json"];
    let output = project.run(&diff);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["identical"], false, "{found}");
    assert_eq!(found["reached"], json!({"views": ["user_age"], "services": ["churn"]}));
    let output = &found["functions"][0]["difference"]["outputs"][0];
    assert!(output["largest_ulps"].as_u64().is_some_and(|ulps| ulps > 0), "{found}");
}

/// Whoever stops reading is no error; what cannot be printed was done all the same.
#[cfg(target_os = "linux")]
#[test]
fn what_is_done_is_done_whoever_reads() {
    let project = shop();
    let full = |arguments: &[&str]| {
        let stdout = std::fs::File::create("/dev/full").unwrap();
        let output = project.command(arguments).stdout(stdout).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        says(&said, &["error: done, but the result cannot be printed: No space left on device"]);
    };
    let text = std::fs::read_to_string(project.path("features/shop.toml")).unwrap();
    project.write("features/shop.toml", &text.replace("ttl = \"10d\"", "ttl = \"11d\""));
    full(&["apply"]);
    says(&project.ok(&["plan"]), &["Nothing to change."]);
    full(&["materialize"]);
    full(&["freshness"]);
    for arguments in [&["materialize"][..], &["plan"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = project.command(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    }
}

#[test]
fn errors_are_json_for_programs() {
    let project = shop();
    let output = project.run(&["catalog", "show", "user_aeg", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "NotFound", "{error}");
    says(error["error"]["hint"].as_str().unwrap(), &["user_age"]);
}
