//! A crate's folder → a component.
//!
//! The bytes depend on the crate, its lock file and the toolchain, and on nothing else of the
//! machine: paths are remapped, and whatever in the environment could steer the compiler is left
//! out ([`cargo`]).

mod cargo;
mod encode;

use std::path::Path;

use crate::{
    error::{Error, Result},
    name::{IDENTIFIER_RULE, TransformName, is_identifier},
};
pub use cargo::crate_folder;
use cargo::{Cargo, Package};

/// What a build gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Team and name as the crate's metadata has them, version as the crate has it.
    pub name: TransformName,
    /// The bytes of the component. They import nothing and export the interface of a transform.
    pub component: Vec<u8>,
}

/// Builds the transform in a crate's folder. Cargo's messages go to this process's stderr.
///
/// Cargo works in a target folder of its own, `unskew-transforms` below that of the workspace. A
/// compiler target that is missing is added where rustup is there to do it.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid) when the crate does not compile or is no
/// transform; [`Kind::NotFound`](crate::error::Kind::NotFound) when there is no crate, no cargo or
/// no compiler target, saying how to get it.
pub fn build(folder: &Path) -> Result<Built> {
    let cargo = Cargo::of(folder)?;
    let package = cargo.package()?;
    let name = transform_name(package)?;
    if !package.is_cdylib() {
        let what = format!("crate \"{}\" is not built as a C dynamic library", package.name);
        return Err(Error::invalid(what)
            .with_hint("in its Cargo.toml: [lib] crate-type = [\"cdylib\", \"rlib\"]"));
    }
    cargo.ensure_target()?;
    let module = cargo.compile(package)?;
    let component = encode::component(&module)
        .map_err(|error| error.context(format!("crate \"{}\"", package.name)))?;
    Ok(Built { name, component })
}

/// The name under which a crate is published: `team/name` of its metadata and its version.
fn transform_name(package: &Package) -> Result<TransformName> {
    let crate_name = &package.name;
    let declared = package.metadata.pointer("/unskew/name").and_then(|name| name.as_str());
    let declared = declared.ok_or_else(|| {
        Error::invalid(format!("crate \"{crate_name}\" does not say what its transform is called"))
            .with_hint("in its Cargo.toml: [package.metadata.unskew] name = \"team/name\"")
    })?;
    match declared.split_once('/') {
        Some((team, name)) if is_identifier(team) && is_identifier(name) => Ok(TransformName {
            team: team.to_owned(),
            name: name.to_owned(),
            version: package.version.clone(),
        }),
        _ => Err(Error::invalid(format!("not a name of a transform: {declared:?}"))
            .with_hint(format!("it is team/name; {IDENTIFIER_RULE}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_name_comes_from_the_metadata() {
        let check = |metadata, expected: Result<&str, &str>| {
            let name = transform_name(&Package::of_metadata(metadata));
            let name = name.map(|name| name.to_string()).map_err(|error| error.to_string());
            assert_eq!(name, expected.map(str::to_owned).map_err(str::to_owned));
        };
        check(json!({"unskew": {"name": "commerce/basket"}}), Ok("commerce/basket@1.2.0"));
        let missing = "crate \"some-crate\" does not say what its transform is called\n\
             hint: in its Cargo.toml: [package.metadata.unskew] name = \"team/name\"";
        check(json!(null), Err(missing));
        check(json!({"unskew": {"name": 3}}), Err(missing));
        for bad in ["basket", "commerce/", "Commerce/basket", "a/b/c"] {
            let expected = format!(
                "not a name of a transform: {bad:?}\nhint: it is team/name; {IDENTIFIER_RULE}"
            );
            check(json!({"unskew": {"name": bad}}), Err(&expected));
        }
    }
}
