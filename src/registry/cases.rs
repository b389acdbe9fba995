//! Golden cases: what a transform has to give, kept with the version that first gave it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// What a function gives for a row, as its author wrote it down. Values are in the JSON form of
/// [`crate::value`]; what is left out is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Where it was written: a file, and a place in it.
    #[serde(default)]
    pub origin: String,
    /// The function.
    pub function: String,
    /// The inputs of the row, by name.
    #[serde(default)]
    pub inputs: BTreeMap<String, Value>,
    /// The params, by name; all are there.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    /// The outputs it has to give, by name.
    #[serde(default)]
    pub outputs: BTreeMap<String, Value>,
    /// The message of the row error that it has to give instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The one form in which cases are kept; nothing where there are none.
pub(super) fn to_json(cases: &[Case]) -> Result<Option<Vec<u8>>> {
    if cases.is_empty() {
        return Ok(None);
    }
    let json = serde_json::to_vec_pretty(cases)
        .map_err(|error| Error::internal(format!("cases have no JSON form: {error}")))?;
    Ok(Some(json))
}
