//! The publish check on every transform of the repository: the honest ones are accepted, and each
//! function of the hostile one is refused.

use std::fs;

use unskew::{
    publish::{Budget, Checker, check, limits, read_cases},
    time::Span,
    wasm::{Limits, Runtime, build},
};

use crate::support::{Project, checkout};

/// Crates that are there to be refused.
const HOSTILE: &[&str] = &["evil"];

#[test]
fn every_honest_transform_of_the_repository_is_accepted() {
    let runtime = Runtime::new(limits(&Limits::default()), None).unwrap();
    let mut accepted = 0;
    for folder in ["transforms", "examples/cdnow/transforms"] {
        for entry in fs::read_dir(checkout().join(folder)).unwrap() {
            let folder = entry.unwrap().path();
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            if HOSTILE.contains(&name.as_str()) {
                continue;
            }
            let component = build(&folder).unwrap().component;
            let cases = read_cases(&folder).unwrap();
            let checked = check(&component, &cases, &runtime, &Budget::default());
            let checked = checked.unwrap_or_else(|error| panic!("{name} is refused: {error}"));
            for (function, found) in &checked.functions {
                eprintln!("{name}#{function}: {found:?}");
                assert!(found.values > 0, "{name}#{function}: {found:?}");
                assert_eq!(found.stopped, 0, "{name}#{function}: {found:?}");
            }
            accepted += 1;
        }
    }
    assert!(accepted >= 7, "{accepted} transforms");
}

/// What gives a row another result than it has alone; with it, what the counterexample has to show
/// of the row in question.
const OTHER_ROWS: &str = "the result for a row depends on the other rows of its call";
const EARLIER_CALLS: &str = "the result for a row depends on earlier calls of the same instance";
const GIVEN_NAN: &str = "the result depends on which NaN it is given";
const MADE_NAN: &str = "the result depends on the bits of a NaN that it computes";

/// The impure functions of the hostile component, with what the check says of them.
const IMPURE: &[(&str, &str, &str)] = &[
    ("counter", EARLIER_CALLS, "\n  call 1: x = 0.0\n  call 2: x = 0.0 → y = 2.0; alone → y = 1.0"),
    ("kept", EARLIER_CALLS, "; alone → y = "),
    ("nan_payload", GIVEN_NAN, "; with the canonical NaN → y = "),
    ("null_slot", OTHER_ROWS, "; alone → y = "),
    ("batch_size", OTHER_ROWS, "\n  x = 0.0 → y = 2.0; alone → y = 1.0\n  x = 0.0"),
    ("row_number", OTHER_ROWS, "\n  x = 0.0\n  x = 0.0 → y = 1.0; alone → y = 0.0"),
    ("row_order", OTHER_ROWS, "; alone → y = "),
    ("first_row", OTHER_ROWS, "; alone → y = "),
    ("whole_batch", OTHER_ROWS, "; alone → y = "),
    ("has_nulls", OTHER_ROWS, "; alone → y = "),
    ("uninitialised", OTHER_ROWS, "; alone → y = "),
    ("text_offset", OTHER_ROWS, "; alone → y = "),
    ("nan_made", MADE_NAN, "; under the strict profile → y = "),
    ("late_row", OTHER_ROWS, "more rows\n  x = "),
    ("trap_in_row_5000", OTHER_ROWS, " → the call fails: it panicked; alone → y = "),
];

/// Odd, and the same in every way to call: the border makes a signalling NaN the canonical one, and
/// the first buffer of a call lies at one address whatever was called before.
const HARMLESS: &[&str] = &["signalling_nan", "address"];

#[test]
fn every_function_of_the_hostile_transform_is_refused_with_a_counterexample() {
    let component = build(&checkout().join("transforms/evil")).unwrap().component;
    // What never ends ends with the deadline.
    let limits = Limits { deadline: Span(3_000_000), ..limits(&Limits::default()) };
    let runtime = Runtime::new(limits, None).unwrap();
    let budget = Budget { call_instructions: 50_000_000, ..Budget::default() };
    let checker = Checker::new(&component, &runtime, &budget).unwrap();
    let transform = runtime.load(&component).unwrap();
    let names: Vec<_> = transform.functions().iter().map(|f| f.name.as_str()).collect();
    for (name, ..) in IMPURE {
        assert!(names.contains(name), "{name}");
    }
    let mut wrong = Vec::new();
    for name in names {
        let error = match checker.function(name, &[]) {
            Ok(_) if HARMLESS.contains(&name) => continue,
            Ok(found) => {
                wrong.push(format!("{name} is accepted: {found:?}"));
                continue;
            }
            Err(error) => error,
        };
        eprintln!("{name}: {error}\n");
        let message = error.message();
        let impure = IMPURE.iter().find(|(known, ..)| *known == name);
        let as_expected = match impure {
            Some((_, what, rows)) if cfg!(target_arch = "x86_64") || name != "nan_made" => {
                let start = format!("the check \"purity\" fails: function \"{name}\": {what}");
                message.starts_with(&start) && message.contains(rows)
            }
            _ => message.contains(&format!(" fails: function \"{name}\": ")),
        };
        if !as_expected || message.lines().count() < 2 {
            wrong.push(format!("{name} is refused with other words: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn publishing_a_hostile_transform_leaves_nothing_in_the_registry() {
    let project = Project::new();
    let evil = checkout().join("transforms/evil");
    let said = project.fails(2, &["transform", "publish", evil.to_str().unwrap()]);
    assert!(
        said.contains("not published: the check \"purity\" fails: function \"counter\""),
        "{said}"
    );
    assert!(said.contains("call 2: x = 0.0 → y = 2.0; alone → y = 1.0"), "{said}");
    for left in ["registry/components", "registry/transforms", "registry/cases"] {
        assert!(!project.path(left).exists(), "{left}");
    }
}
