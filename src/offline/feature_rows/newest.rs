//! Which of two rows is newer: the one place that decides between rows.

use std::cmp::Ordering;

use datafusion::common::Result;

/// Whether one row is newer than another: its event time is greater, among equals its created time
/// (none being the least), among equals still the hash of its content, which is asked for only
/// then: first that of the one row, then that of the other.
pub(in crate::offline) fn is_newer(
    (event, created): (i64, impl FnOnce() -> Option<i64>),
    (other_event, other_created): (i64, impl FnOnce() -> Option<i64>),
    hashes: impl FnOnce() -> Result<(u64, u64)>,
) -> Result<bool> {
    let order = event.cmp(&other_event).then_with(|| created().cmp(&other_created()));
    match order {
        Ordering::Equal => hashes().map(|(hash, other)| hash > other),
        order => Ok(order.is_gt()),
    }
}
