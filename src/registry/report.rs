//! What was found out about a component when it was published.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, time::Timestamp, value::Function};

/// What was found out about a component when it was published first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishReport {
    /// The version of this format: 2. Reports of version 1 do not say, and have nothing that was
    /// checked.
    #[serde(default = "first")]
    pub format: u32,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its functions, as it describes them.
    pub functions: Vec<Function>,
    /// The digest of the runtime profile under which it was checked.
    pub runtime: Digest,
    /// When it was published first.
    pub published_at: Timestamp,
    /// What the publish check found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
}

fn first() -> u32 {
    1
}

impl PublishReport {
    /// The version of the format that is written.
    pub const FORMAT: u32 = 2;
}

/// What the publish check found in a component that it accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// What it imports: nothing, or it would not be here.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// The WebAssembly features that it cannot do without.
    pub features: Vec<String>,
    /// The most memory of a call, in bytes.
    pub memory_bytes: u64,
    /// Golden cases that were run.
    pub cases: u64,
    /// Each function, by name.
    pub functions: BTreeMap<String, FunctionCheck>,
}

/// What the publish check found in a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionCheck {
    /// Rows that it was tried on.
    pub rows: u64,
    /// Calls that were made with them, in all ways.
    pub calls: u64,
    /// Rows that gave values; the others were errors, or stopped the call.
    pub values: u64,
    /// Rows that gave a row error.
    pub row_errors: u64,
    /// Rows that stop a call: a panic, a trap, a limit.
    pub stopped: u64,
    /// One of these, and how it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<String>,
    /// What a row costs; nothing is known where no row had values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// WebAssembly instructions, as the runtime counts them for fuel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Of a call, besides those of its rows.
    pub per_call: u64,
    /// Of the median row.
    pub median_row: u64,
    /// Of the worst row tried.
    pub worst_row: u64,
    /// That row.
    pub worst: String,
    /// How the cost grows with the length of inputs that have one.
    pub growth: Vec<Growth>,
}

/// How the cost of a row grows with the length of an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// The input.
    pub input: String,
    /// What its length is counted in: `byte` or `item`.
    pub unit: String,
    /// How fast.
    pub rate: Rate,
}

/// How fast a cost grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "grows")]
pub enum Rate {
    /// Not at all.
    Constant,
    /// By this much with each unit.
    Linear {
        /// Instructions for each unit.
        per_unit: f64,
    },
    /// By more with each unit than with the one before.
    FasterThanLinear {
        /// Instructions for each unit at the greatest length tried.
        at_longest: f64,
    },
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, unit, rate } = self;
        match rate {
            Rate::Constant => write!(f, "does not grow with the length of {input}"),
            Rate::Linear { per_unit } => {
                write!(f, "grows with {input}: linear, {per_unit} per {unit}")
            }
            Rate::FasterThanLinear { at_longest } => write!(
                f,
                "grows with {input}: faster than linear, {at_longest} per {unit} at the longest tried"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let check = |rate: Rate| {
            let growth = Growth { input: "note".into(), unit: "byte".into(), rate };
            let text = serde_json::to_string(&growth).unwrap();
            assert_eq!(serde_json::from_str::<Growth>(&text).unwrap(), growth, "{text}");
        };
        check(Rate::Constant);
        check(Rate::Linear { per_unit: 3.1 });
        check(Rate::FasterThanLinear { at_longest: 250.0 });
    }
}
