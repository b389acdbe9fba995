//! A crate's folder becomes a component: the same bytes wherever the folder lies.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use unskew::{
    digest::Digest,
    error::Kind,
    wasm::{Limits, Runtime, build},
};

/// A crate of its own, outside of any workspace, that depends on nothing but the SDK.
fn write_crate(folder: &Path, source: &str) {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/rust");
    let manifest = format!(
        r#"[package]
name = "probe"
version = "0.3.1"
edition = "2024"

[package.metadata.unskew]
name = "tests/probe"

[lib]
crate-type = ["cdylib"]

[dependencies]
unskew-sdk = {{ path = {sdk:?} }}

[workspace]
"#
    );
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), source).unwrap();
}

const HALF: &str = r#"
//! A transform with a panic in it, whose message has a path.
use unskew_sdk::prelude::*;

/// Half of it.
#[transform]
pub fn half(x: i64) -> i64 {
    assert!(x % 2 == 0, "odd");
    x / 2
}

export!(half);
"#;

#[test]
fn the_same_crate_in_two_folders_is_the_same_component() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let deeper = two.path().join("a/deeper/folder");
    write_crate(one.path(), HALF);
    write_crate(&deeper, HALF);
    let built = build(one.path()).unwrap();
    assert_eq!(built.name.to_string(), "tests/probe@0.3.1");
    let again = build(&deeper).unwrap();
    assert_eq!(Digest::of(&built.component), Digest::of(&again.component));

    let transform = Runtime::new(Limits::default(), None).unwrap().load(&built.component).unwrap();
    assert_eq!(transform.functions()[0].to_string(), "half(x: int64) -> (half: int64)");
}

#[test]
fn a_crate_that_exports_nothing_is_told_how() {
    let folder = tempfile::tempdir().unwrap();
    write_crate(folder.path(), "//! Nothing.");
    let error = build(folder.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(
        error.to_string(),
        "crate \"probe\": not a transform: it does not export unskew:transform/functions@1.0.0; \
         it exports nothing\n\
         hint: a crate exports its functions with `unskew_sdk::export!`"
    );
}

#[test]
fn a_crate_that_does_not_compile_says_so() {
    let folder = tempfile::tempdir().unwrap();
    write_crate(folder.path(), "fn broken(");
    let error = build(folder.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "crate \"probe\" is not built: cargo failed; it has said why above"
    );
}

/// Builds in a child process, which finds its tools in `tools` alone, and gives the error.
fn build_with(tools: &Path, folder: &Path) -> String {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "build::build_in_a_child"])
        .env("PATH", tools)
        .env("PROBE", folder)
        .output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    let (_, after) = said.split_once("the error is: ").unwrap();
    after.split("\nend").next().unwrap().to_owned()
}

#[test]
#[ignore = "run by the tests of missing tools, in an environment of theirs"]
fn build_in_a_child() {
    let folder = env::var_os("PROBE").unwrap();
    let error = build(Path::new(&folder)).unwrap_err();
    println!("the error is: {error}\nend");
}

/// A shell script in place of a tool.
fn write_tool(tools: &Path, name: &str, script: &str) {
    let path = tools.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Cargo itself, which finds the tools of this machine.
fn write_cargo(tools: &Path) {
    let path = env::var("PATH").unwrap();
    let mut files = env::split_paths(&path).map(|folder| folder.join("cargo"));
    let cargo = files.find(|file| file.is_file()).unwrap();
    write_tool(tools, "cargo", &format!("PATH='{path}' exec '{}' \"$@\"", cargo.display()));
}

#[test]
fn a_missing_tool_is_named() {
    let (folder, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_crate(folder.path(), HALF);
    assert_eq!(
        build_with(tools.path(), folder.path()),
        "cargo is not installed\n\
         hint: a transform in Rust is built with Rust's own tools: https://rustup.rs"
    );
}

#[test]
fn a_missing_target_is_added_or_explained() {
    let (folder, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_crate(folder.path(), HALF);
    write_cargo(tools.path());
    write_tool(tools.path(), "rustc", "echo /nowhere");
    let check = |reason: &str| {
        let expected = format!(
            "this Rust cannot compile for wasm32-unknown-unknown, and the target cannot be added: \
             {reason}\n\
             hint: install rustup and run `rustup target add wasm32-unknown-unknown`, \
             or install your system's package of that target"
        );
        assert_eq!(build_with(tools.path(), folder.path()), expected);
    };
    check("rustup is not installed");
    let asked = folder.path().join("asked");
    write_tool(tools.path(), "rustup", &format!("echo \"$@\" > {}; exit 1", asked.display()));
    check("rustup failed; it has said why above");
    assert_eq!(fs::read_to_string(asked).unwrap(), "target add wasm32-unknown-unknown\n");
}
