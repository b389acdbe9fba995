//! How long ago a user registered.

use unskew_sdk::prelude::*;

/// The mean length of a year in the Gregorian calendar.
const DAYS_PER_YEAR: f64 = 365.2425;

/// Years of 365.2425 days, whole and fractional, from registration to the moment of the request.
/// Negative where the registration lies ahead of the request.
#[transform]
pub fn years_since_registration(
    /// When the user registered.
    registered_at: Timestamp,
    /// The moment of the request.
    event_time: Timestamp,
) -> f64 {
    event_time.days_since(registered_at) / DAYS_PER_YEAR
}

export!(years_since_registration);

#[cfg(test)]
mod tests {
    use super::*;
    use unskew_sdk::testing::{batch, column, rows};

    fn midnight(year: i32, month: u32, day: u32) -> Timestamp {
        Date::from_ymd(year, month, day).and_then(Date::midnight).expect("the day exists")
    }

    #[test]
    fn four_hundred_years_are_four_hundred() {
        assert_eq!(years_since_registration(midnight(1600, 2, 29), midnight(2000, 2, 29)), 400.0);
    }

    #[test]
    fn a_registration_ahead_of_the_request_is_negative() {
        let (before, after) = (midnight(2024, 1, 1), midnight(2024, 1, 2));
        assert_eq!(years_since_registration(after, before), -1.0 / DAYS_PER_YEAR);
    }

    #[test]
    fn a_null_on_either_side_is_null() {
        let moment = Some(midnight(2024, 1, 1));
        let inputs = [column([moment, None, moment]), column([moment, moment, None])];
        let outcome = TRANSFORM.apply(0, &[], batch(3, inputs)).expect("the inputs fit");
        assert_eq!(rows::<Option<f64>>(&outcome.columns[0], 3), [Some(0.0), None, None]);
    }
}
