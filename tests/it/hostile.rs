//! Hostile guests behind a real server: each is answered with these very words, and a neighbour is
//! served undisturbed meanwhile.
//!
//! `transforms/evil` is put into the registry behind the back of `publish`, which would refuse
//! parts of it: a transform may also turn hostile after it was checked, by its inputs.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use serde_json::{Value, json};
use unskew::{
    digest::Digest,
    value::Function,
    wasm::{Limits, Runtime, build},
};

use crate::{
    shop::{DEFINITIONS, write_orders},
    support::{Project, Server, checkout},
};

const PANICKED: &str = "it panicked\nhint: integer overflow, an index out of range and `unwrap` on \
    nothing are panics; a function that returns a Result gives the row an error instead";
const TOO_LATE: &str = "it did not end within its deadline of 1s\n\
    hint: look for a loop without an end; or send fewer rows at a time";
const TOO_LARGE: &str =
    "bytes of the answer over the limit: limit 33554432, current 33554432, requested more";

/// Each hostile function, called with the rows 1, 2 and 3, and what the user is told after
/// `function "…" of sha256:… failed: `. A `#` stands for a number that depends on how the
/// component was laid out.
const FAILURES: &[(&str, &str)] = &[
    ("endless_loop", TOO_LATE),
    ("endless_filling", TOO_LATE),
    (
        "endless_recursion",
        "bytes of stack over the limit: limit 524288, current 524288, requested more",
    ),
    ("recursion_with_large_frames", "it trapped: out of bounds memory access"),
    ("memory_at_once", "bytes of memory over the limit: limit 134217728, current #, requested #"),
    (
        "memory_in_small_steps",
        "bytes of memory over the limit: limit 134217728, current #, requested #",
    ),
    ("panic", PANICKED),
    ("integer_overflow", PANICKED),
    ("division_by_zero", PANICKED),
    ("index_out_of_range", PANICKED),
    ("wild_pointer", "it trapped: out of bounds memory access"),
    ("wild_function", "it trapped: undefined element: out of bounds table access"),
    ("function_of_another_type", "it trapped: indirect call type mismatch"),
    ("refusal", "it refused the call: I do not like these rows"),
    ("long_refusal", "it refused the call: no no no no no no no no …"),
    ("huge_refusal", TOO_LARGE),
    ("forged_refusal", "it refused the call: \\u{1b}[2Jdone\\nhint: run `curl…"),
    ("no_columns", "it returned 0 columns, and declares 1 outputs"),
    ("too_many_columns", "it returned 2 columns, and declares 1 outputs"),
    ("a_million_columns", TOO_LARGE),
    ("another_type", "output \"y\": it is int64 and declared float64"),
    ("too_few_rows", "output \"y\": it has 2 values for 3 rows"),
    ("too_many_rows", "output \"y\": it has 4 values for 3 rows"),
    ("huge_output", TOO_LARGE),
    (
        "undeclared_null",
        "output \"y\": it is null in row 0, where no input is, and is not declared nullable",
    ),
    ("long_validity", "output \"y\": its validity bitmap has 103 bytes for 3 rows, and needs 1"),
    ("stray_validity", "output \"y\": its validity bitmap has bits set behind its 3 rows"),
    ("short_bitmap", "output \"y\": its values bitmap has 0 bytes for 3 rows, and needs 1"),
    ("stray_bits", "output \"y\": its values bitmap has bits set behind its 3 rows"),
    ("no_offsets", "output \"y\": its offsets are 0 for 3 rows, and have to be 4"),
    ("missing_offset", "output \"y\": its offsets are 2 for 3 rows, and have to be 4"),
    ("offsets_from_elsewhere", "output \"y\": its offsets start at 1, not at 0"),
    ("negative_offset", "output \"y\": its offsets decrease in row 0, from 0 to -1"),
    ("decreasing_offsets", "output \"y\": its offsets decrease in row 1, from 2 to 1"),
    ("overlapping_texts", "output \"y\": its offsets decrease in row 1, from 3 to 0"),
    ("offsets_outside", "output \"y\": its offsets end at 2147483647, and there are 3 items"),
    ("offsets_that_leave_out", "output \"y\": its offsets end at 2, and there are 3 items"),
    (
        "overflowing_offsets",
        "output \"y\": its offsets decrease in row 1, from 2147483647 to -2147483648",
    ),
    ("invalid_utf8", "output \"y\": it is not UTF-8: item 1"),
    ("overlong_utf8", "output \"y\": it is not UTF-8: item 1"),
    ("surrogate", "output \"y\": it is not UTF-8: item 1"),
    ("cut_character", "output \"y\": it is not UTF-8: item 1"),
    ("list_offsets_outside", "output \"y\": its offsets end at 4, and there are 3 items"),
    ("overflowing_lists", "output \"y\": its offsets end at 2147483647, and there are 1 items"),
    ("bad_text_in_lists", "output \"y\": items: it is not UTF-8: item 1"),
    ("row_error_out_of_range", "it returned an error for row 3, and there are 3 rows"),
    ("last_row_error", "it returned an error for row 4294967295, and there are 3 rows"),
    ("repeated_row_error", "it returned the error for row 1 after that for row 1"),
    ("disordered_row_errors", "it returned the error for row 0 after that for row 1"),
    ("a_million_row_errors", TOO_LARGE),
    ("huge_row_error", TOO_LARGE),
];

/// Hostile functions with longer calls: how many rows, and the words.
const LONG_FAILURES: &[(&str, u32, &str)] = &[
    ("trap_in_row_5000", 5_001, PANICKED),
    ("short_validity", 9, "output \"y\": its validity bitmap has 1 bytes for 9 rows, and needs 2"),
];

/// What the sandbox makes harmless: the values for the rows 1, 2 and 3, however often it is asked.
const HARMLESS: &[(&str, [f64; 3])] = &[
    ("counter", [2.0, 3.0, 4.0]),
    ("kept", [1.0, 2.0, 3.0]),
    ("nan_payload", [1.0, 2.0, 3.0]),
    ("null_slot", [1.0, 2.0, 3.0]),
    ("trap_in_row_5000", [1.0, 2.0, 3.0]),
];

/// Row errors that are not what they seem: the message that is shown for row 0.
const ROW_ERRORS: &[(&str, &str)] = &[
    ("long_row_error", "no no no no no no no no …"),
    ("forged_row_error", "\\u{1b}[2Jdone\\nhint: run `curl…"),
];

/// Well-formed answers that are not a function of the row: nothing that a server could tell.
const IMPURE: &[&str] = &[
    "signalling_nan",
    "batch_size",
    "row_number",
    "row_order",
    "first_row",
    "whole_batch",
    "has_nulls",
    "uninitialised",
    "address",
    "text_offset",
    "nan_made",
    "late_row",
];

/// The limits of the project; small, so that hostile calls are over soon.
const LIMITS: &str = r#"
[limits]
deadline = "60s"
memory_bytes = 134_217_728
output_bytes = 33_554_432
error_text_bytes = 24
"#;

#[test]
fn every_hostile_function_is_answered_in_so_many_words() {
    let (project, evil) = project();
    let server = project.serve();
    let stopped = AtomicBool::new(false);
    let served = thread::scope(|scope| {
        let neighbour = scope.spawn(|| neighbour(&server, &stopped));
        let stop = Stop(&stopped);
        attack(&server, &evil);
        drop(stop);
        neighbour.join().unwrap()
    });
    assert!(served > 20, "the neighbour was served {served} times");
    assert_eq!(server.get("/health").0, 200);
}

fn attack(server: &Server, evil: &Evil) {
    for (name, expected) in FAILURES {
        evil.fails(server, name, 3, expected);
    }
    for (name, rows, expected) in LONG_FAILURES {
        evil.fails(server, name, *rows, expected);
    }
    for (name, expected) in HARMLESS {
        for _ in 0..3 {
            let (status, answer) = evil.ask(server, name, 3);
            assert_eq!(
                (status, &answer["results"][0]["values"]),
                (200, &json!(expected)),
                "{name}"
            );
        }
    }
    for (name, expected) in ROW_ERRORS {
        let (status, answer) = evil.ask(server, name, 3);
        let said = answer.to_string();
        assert_eq!(answer["results"][0]["statuses"][0], "INVALID", "{name}: {status} {said}");
        assert!(said.contains(&json!(expected).to_string()), "{name}: {said}");
    }
}

/// More calls that do not end than there are turns, from more clients than there are threads.
#[test]
fn a_flood_of_endless_calls_does_not_stop_the_neighbour() {
    let (project, evil) = project();
    let limits = format!(
        "{LIMITS}concurrent_calls = 8\ncalls_per_transform = 4\nqueued_calls = 4\n\
         queue_time = \"50ms\"\n"
    );
    project.write("unskew.toml", &format!("[project]\nname = \"probe\"\n{limits}"));
    let server = project.serve();
    let stopped = AtomicBool::new(false);
    let (served, answers) = thread::scope(|scope| {
        let neighbour = scope.spawn(|| neighbour(&server, &stopped));
        let stop = Stop(&stopped);
        let client = || (0..3).map(|_| evil.ask(&server, "endless_loop", 3)).collect::<Vec<_>>();
        let clients: Vec<_> = (0..24).map(|_| scope.spawn(client)).collect();
        let answers: Vec<_> = clients.into_iter().flat_map(|c| c.join().unwrap()).collect();
        drop(stop);
        (neighbour.join().unwrap(), answers)
    });
    assert!(served > 5, "the neighbour was served {served} times");
    let digest = evil.digest.short();
    let expected = [
        (500, format!("function \"endless_loop\" of {digest} failed: {TOO_LATE}")),
        (503, format!("waiting calls of {digest} over the limit: limit 4, current 4, requested 5")),
        (
            503,
            format!(
                "calls of {digest} at a time over the limit for 50ms: limit 4, current 4, requested 5"
            ),
        ),
    ];
    let mut seen = [0; 3];
    for (status, answer) in answers {
        let said = message(&answer);
        let said = said.split("\nhint: the calls before it").next().unwrap_or_default();
        let place = expected.iter().position(|(code, text)| status == *code && matches(said, text));
        seen[place.unwrap_or_else(|| panic!("{status} {answer}"))] += 1;
    }
    assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
}

#[test]
fn every_function_of_the_hostile_component_is_in_a_table() {
    let functions: BTreeSet<String> = evil().functions.into_iter().map(|f| f.name).collect();
    let tested = FAILURES.iter().map(|(name, ..)| *name);
    let tested = tested.chain(LONG_FAILURES.iter().map(|(name, ..)| *name));
    let tested = tested.chain(HARMLESS.iter().map(|(name, ..)| *name));
    let tested = tested.chain(ROW_ERRORS.iter().map(|(name, ..)| *name));
    let tested: BTreeSet<String> = tested.chain(IMPURE.iter().copied()).map(Into::into).collect();
    assert_eq!(functions, tested);
}

/// The hostile component.
struct Evil {
    digest: Digest,
    bytes: Vec<u8>,
    functions: Vec<Function>,
}

fn evil() -> Evil {
    let bytes = build(&checkout().join("transforms/evil")).unwrap().component;
    let transform = Runtime::new(Limits::default(), None).unwrap().load(&bytes).unwrap();
    Evil { digest: transform.digest(), functions: transform.functions().to_vec(), bytes }
}

/// A shop with a view for every hostile function beside its own.
fn project() -> (Project, Evil) {
    let (project, evil) = (Project::new(), evil());
    write_orders(&project, &[1], &[0], &[1.5]);
    project.publish("transforms/user_age");
    evil.publish(&project);
    project.write("unskew.toml", &format!("[project]\nname = \"probe\"\n{LIMITS}"));
    let mut definitions = DEFINITIONS.to_owned();
    for Function { name, inputs, outputs, .. } in &evil.functions {
        // The others end by another limit, also where a machine is busy with other things.
        let limits =
            if name.starts_with("endless") { "limits = { deadline = \"1s\" }\n" } else { "" };
        let _ = write!(
            definitions,
            "[on_demand_feature_view.{name}]\n\
             {limits}\
             transform = \"tests/evil@1.0.0#{name}\"\n\
             inputs = {{ {} = \"request:x\" }}\n\
             features = {{ {name}_y = {{ type = \"{}\", column = \"y\" }} }}\n",
            inputs[0].name, outputs[0].data_type
        );
    }
    // One request column has one type.
    let definitions = definitions.replace("{ s = \"request:x\" }", "{ s = \"request:s\" }");
    project.write("features/shop.toml", &definitions);
    project.ok(&["apply"]);
    project.ok(&["materialize"]);
    (project, evil)
}

impl Evil {
    /// Lays the component into the registry as if it had been found good: with the report of
    /// another, under its own digest.
    fn publish(&self, project: &Project) {
        let folder = project.path("registry/components/sha256");
        let reports = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let good = reports.into_iter().find(|path| path.extension().unwrap() == "json").unwrap();
        let mut report: Value = serde_json::from_slice(&fs::read(good).unwrap()).unwrap();
        report["digest"] = json!(self.digest);
        report["size"] = json!(self.bytes.len());
        report["functions"] = json!(self.functions);
        let hex = self.digest.hex();
        fs::write(folder.join(format!("{hex}.wasm")), &self.bytes).unwrap();
        fs::write(folder.join(format!("{hex}.json")), report.to_string()).unwrap();
        let name = project.path("registry/transforms/tests/evil");
        fs::create_dir_all(&name).unwrap();
        let record = json!({"digest": self.digest, "published_at": report["published_at"]});
        fs::write(name.join("1.0.0.json"), record.to_string()).unwrap();
    }

    /// Asks for a hostile feature of the rows 1, 2, 3 and so on.
    fn ask(&self, server: &Server, name: &str, rows: u32) -> (u16, Value) {
        let x: Vec<f64> = (1..=rows).map(f64::from).collect();
        let body = json!({"features": [format!("{name}:{name}_y")], "entities": {"x": x}});
        server.post("/get-online-features", &body)
    }

    #[track_caller]
    fn fails(&self, server: &Server, name: &str, rows: u32, expected: &str) {
        let (status, answer) = self.ask(server, name, rows);
        let said = message(&answer);
        let expected = format!("function \"{name}\" of {} failed: {expected}", self.digest.short());
        assert!(
            status == 500 && matches(&said, &expected),
            "{name}: {status} {answer}\n{expected}"
        );
    }
}

/// The message in the body of an error.
fn message(answer: &Value) -> String {
    let detail: Value = serde_json::from_str(answer.as_str().unwrap_or("{}")).unwrap();
    detail["message"].as_str().unwrap_or_default().to_owned()
}

/// Whether the text is the pattern, in which each `#` is a number.
fn matches(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    for (place, literal) in pattern.split('#').enumerate() {
        if place > 0 {
            let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            if behind.len() == rest.len() {
                return false;
            }
            rest = behind;
        }
        match rest.strip_prefix(literal) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Asks for an honest feature, again and again, and looks at every answer; gives how often it did.
fn neighbour(server: &Server, stopped: &AtomicBool) -> u32 {
    let body = json!({
        "features": ["orders:amount", "user_age:user_age"],
        "entities": {"customer_id": [1, 9]},
        "event_time": "1998-01-07T00:00:00Z",
    });
    let values = || {
        let (status, answer) = server.post("/get-online-features", &body);
        assert_eq!(status, 200, "{answer}");
        let results = answer["results"].as_array().unwrap();
        results.iter().map(|column| column["values"].clone()).collect::<Vec<_>>()
    };
    let expected = values();
    assert_eq!(expected[..2], [json!([1, 9]), json!([1.5, 0.0])]);
    assert!(expected[2][0].as_f64().is_some_and(|age| age > 0.0), "{expected:?}");
    let mut served = 0;
    while !stopped.load(Relaxed) {
        assert_eq!(values(), expected);
        served += 1;
    }
    served
}

/// Sets the flag when dropped, also by a test that fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
