//! A crate's folder becomes a component: the same bytes wherever the folder lies.

use std::{fs, path::Path};

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

    let transform = Runtime::new(Limits::default(), None)
        .unwrap()
        .load(&built.component)
        .unwrap();
    assert_eq!(
        transform.functions()[0].to_string(),
        "half(x: int64) -> (half: int64)"
    );
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
