//! What users declare: read, checked, compared. Pure: files, schemas and transforms are handed in.

mod model;
pub mod retrieval;

pub use model::*;
