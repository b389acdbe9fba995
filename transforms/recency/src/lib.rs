//! How long ago something happened.

use unskew_sdk::prelude::*;

/// Days of 86 400 seconds, whole and fractional, from a moment to the moment of the request.
/// Negative where the moment lies ahead of the request.
#[transform]
pub fn days_since(
    /// The moment to count from, such as the last purchase.
    then: Timestamp,
    /// The moment of the request.
    event_time: Timestamp,
) -> f64 {
    event_time.days_since(then)
}

export!(days_since);

#[cfg(test)]
mod tests {
    use super::*;
    use unskew_sdk::testing::{batch, column, rows};

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn counts_parts_of_a_day_in_both_directions() {
        let at = |hours| Timestamp::from_micros(hours * HOUR);
        for (then, now, days) in [(0, 36, 1.5), (36, 0, -1.5), (7, 7, 0.0)] {
            assert_eq!(days_since(at(then), at(now)), days);
        }
    }

    #[test]
    fn a_null_moment_is_null() {
        let now = Timestamp::from_micros(HOUR);
        let inputs = [column([None, Some(now)]), column([now, now])];
        let outcome = TRANSFORM.apply(0, &[], batch(2, inputs)).expect("the inputs fit");
        assert_eq!(rows::<Option<f64>>(&outcome.columns[0], 2), [None, Some(0.0)]);
    }
}
