//! What users declare: read, checked, compared. Pure: files, schemas and transforms are handed in.
//!
#![doc = include_str!("syntax.md")]

mod check;
pub mod fingerprint;
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
