//! Components that are meant to keep the compiler busy, or to make it take all memory: refused with
//! the limit they hit, while the process that asked stays as small as it was.

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use unskew::{
    error::Kind,
    wasm::{Limits, Runtime, build},
};

use crate::support::{Project, checkout};

/// A component around a core module, which is valid as far as a validator tells.
fn component(module: &str) -> Vec<u8> {
    wat::parse_str(format!(
        "(component (core module $m {module}) (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i \"f\")))
            (instance $functions (export \"describe\" (func $f)))
            (export \"unskew:transform/functions@1.0.0\" (instance $functions)))"
    ))
    .unwrap()
}

/// One function with a very long body.
fn one_huge_function() -> Vec<u8> {
    let mut body = String::new();
    for number in 0..60_000 {
        let _ = write!(
            body,
            "(local.set {} (i64.rotl (i64.mul (local.get {}) (i64.const {number}))
                (i64.xor (local.get {}) (local.get {}))))",
            number % 500,
            (number + 1) % 500,
            (number * 7) % 500,
            (number * 13) % 500
        );
        if number % 20 == 0 {
            let _ = write!(body, "(if (i64.eqz (local.get {})) (then (return)))", number % 499);
        }
    }
    component(&format!("(func (export \"f\") (local {}) {body})", "i64 ".repeat(500)))
}

/// Functions in great number.
fn many_functions() -> Vec<u8> {
    component(&format!(
        "(func (export \"f\")) {}",
        "(func (result i32) i32.const 7)".repeat(150_000)
    ))
}

/// Blocks within blocks, each with a way out of all of them.
fn deep_nesting() -> Vec<u8> {
    let depth = 30_000;
    let body = format!("{} {}", "block ".repeat(depth), "i32.const 1 br_if 0 end ".repeat(depth));
    component(&format!("(func (export \"f\") {body})"))
}

/// Tries to compile in a project with these limits, and gives the most memory of the process that
/// asked, in KiB.
fn inspect(project: &Project, limits: &str, bytes: &[u8]) -> (Output, u64) {
    project.write("unskew.toml", &format!("[project]\nname = \"probe\"\n[limits]\n{limits}"));
    fs::write(project.path("bomb.wasm"), bytes).unwrap();
    let mut command = project.command(&["transform", "inspect", "bomb.wasm"]);
    // Compiled code of an earlier run would be found.
    command.env("XDG_CACHE_HOME", project.path("cache"));
    watched(command)
}

fn watched(mut command: Command) -> (Output, u64) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watch = thread::spawn(move || {
        let mut most = 0;
        while let Some(peak) = peak(&fs::read_to_string(&status).unwrap_or_default()) {
            most = peak.max(most);
            thread::sleep(Duration::from_millis(2));
        }
        most
    });
    let output = child.wait_with_output().unwrap();
    (output, watch.join().unwrap())
}

/// The most memory a process has had; `None` when it has ended.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[test]
fn compiling_has_limits() {
    let project = Project::new();
    let user_age = build(&checkout().join("transforms/user_age")).unwrap().component;
    let (output, usual) = inspect(&project, "", &user_age);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let check = |bytes: &[u8], limits: &str, expected: &str| {
        let (output, peak) = inspect(&project, limits, bytes);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let hint = "hint: a component of this size usually compiles well within the limits: look \
            for generated code, such as large tables or functions of many thousand lines; the \
            limits are in [limits] of unskew.toml\n";
        assert_eq!(said, format!("error: {expected}\n{hint}"));
        // It holds the component, and nothing that was made of it.
        assert!(peak < usual + 16_384, "{peak} KiB after {usual} KiB");
    };
    let time = "time to compile over the limit: limit 300ms, current 300ms, requested more";
    let memory = "bytes of memory to compile over the limit: limit 33554432, current 33554432, \
        requested more";
    for bomb in [one_huge_function(), many_functions()] {
        check(&bomb, "compile_time = \"300ms\"", time);
        check(&bomb, "compile_memory_bytes = 33_554_432", memory);
    }
}

#[test]
fn nesting_is_no_reason_to_fall() {
    let project = Project::new();
    let (output, _) = inspect(&project, "compile_time = \"20s\"", &deep_nesting());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("not a transform: it does not fit") || said.contains("over the limit"),
        "{said}"
    );
}

/// What the child says of a component is what this process would say.
#[test]
fn components_are_judged_alike_wherever_they_are_compiled() {
    let program = env!("CARGO_BIN_EXE_unskew").into();
    let apart = Runtime::compiling_apart(Limits::default(), None, program).unwrap();
    let here = Runtime::new(Limits::default(), None).unwrap();
    let components = [
        b"fn main() {}".to_vec(),
        wat::parse_str("(component)").unwrap(),
        wat::parse_str(r#"(component (import "clock" (func)))"#).unwrap(),
        component("(func (export \"f\"))"),
        component("(func (export \"f\") (drop (i32.const 1)) (i32.const 2) drop)")[..90].to_vec(),
    ];
    for bytes in components {
        let (one, two) = (apart.load(&bytes).unwrap_err(), here.load(&bytes).unwrap_err());
        assert_eq!((one.kind(), one.to_string()), (two.kind(), two.to_string()));
    }
    let built = build(&checkout().join("transforms/user_age")).unwrap().component;
    let (one, two) = (apart.load(&built).unwrap(), here.load(&built).unwrap());
    assert_eq!(one.functions(), two.functions());
}

#[test]
fn a_compiler_that_is_no_compiler_is_named() {
    let user_age = build(&checkout().join("transforms/user_age")).unwrap().component;
    let check = |program: &str, kind: Kind, expected: &str| {
        let runtime = Runtime::compiling_apart(Limits::default(), None, program.into()).unwrap();
        let error = runtime.load(&user_age).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (kind, expected.to_owned()));
    };
    check(
        "/nowhere/unskew",
        Kind::NotFound,
        "cannot start the compiler /nowhere/unskew: No such file or directory (os error 2)",
    );
    check(
        "/bin/false",
        Kind::Invalid,
        "not a transform: the compiler failed on it (exit status: 1): it said nothing",
    );
}
