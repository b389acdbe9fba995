//! What users declare: read, checked, compared. Pure: files, schemas and transforms are handed in.
//!
#![doc = include_str!("syntax.md")]

mod check;
mod diff;
pub mod fingerprint;
mod kind;
mod limits;
mod lock;
mod model;
mod parse;
mod problem;
pub mod retrieval;
#[cfg(test)]
mod testing;

pub use check::{Column, Environment, RESERVED_COLUMNS, check};
pub use diff::{Action, Change, Diff, FieldChange};
pub use kind::DefinitionKind;
pub use limits::CallLimits;
pub use lock::{LOCK_FILE, read_lock, write_lock};
pub use model::*;
pub use parse::{Parsed, parse};
pub use problem::{File, Problem};
