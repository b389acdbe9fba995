//! What users declare: read, checked, compared. Pure: files, schemas and transforms are handed in.

mod check;
mod kind;
mod model;
mod parse;
mod problem;
pub mod retrieval;
#[cfg(test)]
mod testing;

pub use check::{Column, Environment, RESERVED_COLUMNS, check};
pub use kind::DefinitionKind;
pub use model::*;
pub use parse::{Parsed, parse};
pub use problem::{File, Problem};
