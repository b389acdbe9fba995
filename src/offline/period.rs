//! Periods of event times, and what they are as predicates.

use arrow::datatypes::{DataType as ArrowType, TimeUnit};
use datafusion::{
    common::ScalarValue,
    logical_expr::{Expr, ident, lit},
};

use super::feature_rows::EVENT;
use crate::time::{Span, Timestamp};

/// A period of event times, both ends included; without an end, it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// The first moment.
    pub from: Option<Timestamp>,
    /// The last moment.
    pub to: Option<Timestamp>,
}

impl Period {
    /// All times.
    pub const ALL: Self = Self { from: None, to: None };

    /// The event times that entity rows at the times of `self` can see, none of them older than
    /// `ttl`.
    #[must_use]
    pub fn seen_with(self, ttl: Option<Span>) -> Self {
        let oldest = |ttl| Some(self.from?.saturating_sub(ttl));
        Self { from: ttl.and_then(oldest), to: self.to }
    }

    /// Whether the event time of a feature row is in the period; `None` where all are.
    pub(super) fn contains_event(&self) -> Option<Expr> {
        let moment = |moment: Timestamp| {
            lit(ScalarValue::TimestampMicrosecond(Some(moment.0), Some("UTC".into())))
        };
        let from = self.from.map(|from| ident(EVENT).gt_eq(moment(from)));
        let to = self.to.map(|to| ident(EVENT).lt_eq(moment(to)));
        from.into_iter().chain(to).reduce(Expr::and)
    }

    /// What holds for every row of a source whose time, in a column of this name and type, is in
    /// the period, and for every row without a time, which is an error that must not be passed
    /// over. Unlike [`Period::contains_event`] it is about the column as the file has it, so that
    /// whole row groups and files can be left unread.
    pub(super) fn may_contain(&self, column: &str, data_type: &ArrowType) -> Option<Expr> {
        let ArrowType::Timestamp(unit, zone) = data_type else {
            return None;
        };
        let bound = |value: i64| {
            let value = Some(value);
            let zone = zone.clone();
            lit(match unit {
                TimeUnit::Second => ScalarValue::TimestampSecond(value, zone),
                TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(value, zone),
                TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(value, zone),
                TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(value, zone),
            })
        };
        let from = self.from.and_then(|from| in_unit(from.0, *unit, 0));
        let to = self.to.and_then(|to| in_unit(to.0, *unit, 999));
        let from = from.map(|from| ident(column).gt_eq(bound(from)));
        let to = to.map(|to| ident(column).lt_eq(bound(to)));
        let within = from.into_iter().chain(to).reduce(Expr::and)?;
        Some(ident(column).is_null().or(within))
    }
}

/// The moment in a unit, rounded towards the past; in nanoseconds, the one of so many within the
/// microsecond, and `None` where that is out of range.
fn in_unit(micros: i64, unit: TimeUnit, nanos: i64) -> Option<i64> {
    match unit {
        TimeUnit::Second => Some(micros.div_euclid(1_000_000)),
        TimeUnit::Millisecond => Some(micros.div_euclid(1_000)),
        TimeUnit::Microsecond => Some(micros),
        TimeUnit::Nanosecond => micros.checked_mul(1_000)?.checked_add(nanos),
    }
}
