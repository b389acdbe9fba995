//! From bytes to a component this runtime can run: what is checked before a single instruction
//! of it is compiled.

use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

use super::{bindings::INTERFACE, limits::Limits, words::shown};
use crate::error::{Error, Result};

/// The WebAssembly features a component may use; all others are refused here, also those that a
/// later Wasmtime turns on by itself.
const FEATURES: WasmFeatures = WasmFeatures::BULK_MEMORY
    .union(WasmFeatures::COMPONENT_MODEL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SIMD);

/// The most bytes of a component's own names that an error repeats.
const NAMES: u32 = 1_024;

/// The names of [`FEATURES`], in ascending order.
pub(super) fn feature_names() -> Vec<String> {
    let mut names: Vec<_> = FEATURES.iter_names().map(|(name, _)| name.to_lowercase()).collect();
    names.sort_unstable();
    names
}

/// Refuses too many bytes, before anything else is done with them.
///
/// # Errors
/// [`Kind::Limit`](crate::error::Kind::Limit).
pub(super) fn check_size(bytes: &[u8], limits: &Limits) -> Result<()> {
    match (limits.component_bytes, bytes.len() as u64) {
        (limit, size) if size > limit => {
            Err(Error::limit("bytes of the component", limit, 0, size))
        }
        _ => Ok(()),
    }
}

/// Refuses whatever is not a valid component of this world.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid) for what is no component, imports anything or
/// does not export the interface of a transform.
pub(super) fn admit(bytes: &[u8]) -> Result<()> {
    check_header(bytes)?;
    validate(bytes, FEATURES).map_err(invalid)?;
    let Border { imports, exports } = border(bytes)?;
    if !imports.is_empty() {
        return Err(imports_refused(&imports));
    }
    if !exports.iter().any(|export| export == INTERFACE) {
        return Err(no_transform(&exports));
    }
    Ok(())
}

fn check_header(bytes: &[u8]) -> Result<()> {
    if !bytes.starts_with(b"\0asm") {
        let text = std::str::from_utf8(bytes).is_ok_and(|text| !text.is_empty());
        let what = match (bytes.is_empty(), text) {
            (true, _) => "it is empty",
            (false, true) => "it is a text file",
            (false, false) => "it is not WebAssembly",
        };
        return Err(not_a_transform(what).with_hint(BUILD_HINT));
    }
    if !Parser::is_component(bytes) {
        return Err(not_a_transform("it is a core module, not a component").with_hint(BUILD_HINT));
    }
    Ok(())
}

const BUILD_HINT: &str = "`unskew transform build` makes a component of a crate";

fn not_a_transform(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("not a transform: {what}"))
}

/// What a component is, short of what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// The WebAssembly features without which it would not be valid, in ascending order.
    pub features: Vec<String>,
}

/// What a component imports, exports and uses.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid) for what is no component under the features
/// there are.
pub fn outline(bytes: &[u8]) -> Result<Outline> {
    validate(bytes, FEATURES).map_err(invalid)?;
    let Border { imports, exports } = border(bytes)?;
    let needed = FEATURES
        .iter_names()
        .filter(|(_, feature)| validate(bytes, FEATURES.difference(*feature)).is_err());
    let mut features: Vec<_> = needed.map(|(name, _)| name.to_lowercase()).collect();
    features.sort_unstable();
    Ok(Outline { imports, exports, features })
}

fn validate(bytes: &[u8], features: WasmFeatures) -> wasmparser::Result<()> {
    Validator::new_with_features(features).validate_all(bytes).map(|_| ())
}

/// The names at the border of a component.
#[derive(Default)]
struct Border {
    imports: Vec<String>,
    exports: Vec<String>,
}

fn border(bytes: &[u8]) -> Result<Border> {
    let mut border = Border::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        read(&payload, &mut depth, &mut border).map_err(invalid)?;
    }
    Ok(border)
}

fn invalid(error: wasmparser::BinaryReaderError) -> Error {
    let reason = shown(&error.to_string(), NAMES);
    not_a_transform(format!("it is not a valid component: {reason}"))
}

fn read(payload: &Payload<'_>, depth: &mut u32, border: &mut Border) -> wasmparser::Result<()> {
    match payload {
        Payload::Version { encoding: Encoding::Module | Encoding::Component, .. } => *depth += 1,
        Payload::End(_) => *depth = depth.saturating_sub(1),
        Payload::ComponentImportSection(imports) if *depth == 1 => {
            for import in imports.clone() {
                border.imports.push(import?.name.name.to_owned());
            }
        }
        Payload::ComponentExportSection(exports) if *depth == 1 => {
            for export in exports.clone() {
                border.exports.push(export?.name.name.to_owned());
            }
        }
        _ => {}
    }
    Ok(())
}

fn imports_refused(imports: &[String]) -> Error {
    let error = not_a_transform(format!("it imports {}", shown(&imports.join(", "), NAMES)));
    let system = imports.iter().any(|import| import.starts_with("wasi:"));
    error.with_hint(match system {
        true => {
            "a transform has no clock, randomness, network, files or environment: what it knows \
             arrives in its arguments; build it for wasm32-unknown-unknown, as \
             `unskew transform build` does"
        }
        false => "a transform imports nothing: what it knows arrives in its arguments",
    })
}

/// Tells another version of the interface from another interface.
fn no_transform(exports: &[String]) -> Error {
    let (interface, version) = INTERFACE.split_once('@').unwrap_or((INTERFACE, ""));
    let ours = exports.iter().find_map(|export| export.strip_prefix(interface)?.strip_prefix('@'));
    if let Some(other) = ours {
        return not_a_transform(format!(
            "it exports version {} of {interface}, and this unskew runs {version}",
            shown(other, NAMES)
        ))
        .with_hint("build it with the SDK of this unskew, or run it with a newer unskew");
    }
    let found = match exports.is_empty() {
        true => "nothing".to_owned(),
        false => shown(&exports.join(", "), NAMES),
    };
    not_a_transform(format!("it does not export {INTERFACE}; it exports {found}"))
        .with_hint("a crate exports its functions with `unskew_sdk::export!`")
}
