//! How long ago a user registered, in calendar years: another team's idea of the same feature.

use unskew_sdk::prelude::*;

/// The year of the request less the year of registration, in UTC. A user who registered on New
/// Year's Eve is one year old the day after. Negative where the registration lies ahead of the
/// request.
#[transform]
pub fn years_since_registration(
    /// When the user registered.
    registered_at: Timestamp,
    /// The moment of the request.
    event_time: Timestamp,
) -> f64 {
    f64::from(event_time.year() - registered_at.year())
}

export!(years_since_registration);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(registered: (i32, u32, u32), requested: (i32, u32, u32), years: f64) {
        let [registered_at, event_time] = [registered, requested].map(|(year, month, day)| {
            Date::from_ymd(year, month, day).and_then(Date::midnight).expect("the day exists")
        });
        assert_eq!(years_since_registration(registered_at, event_time), years);
    }

    #[test]
    fn only_the_years_count() {
        check((1997, 1, 1), (1997, 12, 31), 0.0);
        check((1997, 12, 31), (1998, 1, 1), 1.0);
        check((1998, 1, 1), (1997, 12, 31), -1.0);
    }
}
