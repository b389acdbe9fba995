//! What a view allows the calls of its function.

use serde::{Deserialize, Serialize};

use crate::time::Span;

/// Limits on the calls of a view's function, tighter than the project's; what is left out is as
/// the project has it. No part of it changes a value: a call over a limit fails.
///
/// A view cannot have more than the project: what a call may have at the most is set aside for
/// every call when the process starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallLimits {
    /// Time for one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// Bytes of memory of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u32>,
    /// Rows of one call; longer batches are cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
    /// Bytes of all inputs of one call; larger batches are cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_bytes: Option<u32>,
    /// Bytes of everything one call gives back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u32>,
    /// Bytes of the message of one row error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_text_bytes: Option<u32>,
}

impl CallLimits {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The limits that are there, as they are written in a definition file.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.amounts().into_iter().filter_map(|(name, amount)| Some((name, show(name, amount?))))
    }

    /// The first limit that is looser than in `most`: its name, the most there is, and itself.
    pub(super) fn looser_than(&self, most: &Self) -> Option<(&'static str, i64, i64)> {
        let pairs = self.amounts().into_iter().zip(most.amounts());
        pairs.into_iter().find_map(|((name, own), (_, most))| match (own, most) {
            (Some(own), Some(most)) if own > most => Some((name, most, own)),
            _ => None,
        })
    }

    fn amounts(&self) -> [(&'static str, Option<i64>); 6] {
        [
            ("deadline", self.deadline.map(|span| span.0)),
            ("memory_bytes", self.memory_bytes.map(i64::from)),
            ("rows", self.rows.map(i64::from)),
            ("input_bytes", self.input_bytes.map(i64::from)),
            ("output_bytes", self.output_bytes.map(i64::from)),
            ("error_text_bytes", self.error_text_bytes.map(i64::from)),
        ]
    }
}

/// An amount of a limit, with its unit where it has one.
pub(super) fn show(name: &str, amount: i64) -> String {
    match name {
        "deadline" => Span(amount).to_string(),
        _ => amount.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_looser_when_it_is_more() {
        let most =
            CallLimits { deadline: Some(Span(1_000_000)), rows: Some(10), ..CallLimits::default() };
        let check = |limits: CallLimits, expected| assert_eq!(limits.looser_than(&most), expected);
        check(CallLimits::default(), None);
        check(most, None);
        check(CallLimits { rows: Some(11), ..most }, Some(("rows", 10, 11)));
        check(CallLimits { deadline: Some(Span(999)), ..CallLimits::default() }, None);
        check(CallLimits { memory_bytes: Some(u32::MAX), ..CallLimits::default() }, None);
    }
}
