//! A core module → a component.

use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use crate::{
    error::{Error, Result},
    wasm::component::admit,
};

/// Wraps the module that the compiler made, by the description of its world that the SDK put
/// inside. What comes out is admitted by the runtime.
pub(super) fn component(module: &[u8]) -> Result<Vec<u8>> {
    let imports = imports(module).map_err(|error| unusable(&error))?;
    if !imports.is_empty() {
        return Err(Error::invalid(format!("it imports {}", imports.join(", "))).with_hint(
            "a transform has no clock, randomness, network, files or environment; \
             look for the dependency that needs them, with `cargo tree`",
        ));
    }
    let encode = || ComponentEncoder::default().validate(true).module(module)?.encode();
    let component = encode().map_err(|error| unusable(&error))?;
    admit(&component)?;
    Ok(component)
}

fn unusable(error: &impl std::fmt::Display) -> Error {
    Error::invalid(format!("no component can be made of what the compiler gave: {error:#}"))
}

fn imports(module: &[u8]) -> wasmparser::Result<Vec<String>> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(imports) = payload? {
            for import in imports.into_imports() {
                let import = import?;
                names.push(format!("{}::{}", import.module, import.name));
            }
        }
    }
    Ok(names)
}
