//! Dates and timestamps in the proleptic Gregorian calendar, UTC.

use core::fmt;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// A day, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// The day so many days after 1970-01-01.
    #[inline]
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// The day with this year, month (1 to 12) and day of the month, or `None` where the calendar
    /// has no such day or it is out of range.
    pub const fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        if month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        let days = days_from_civil(year as i64, month as i64, day as i64);
        if days < i32::MIN as i64 || days > i32::MAX as i64 {
            return None;
        }
        Some(Self(days as i32))
    }

    /// Days since 1970-01-01.
    #[inline]
    pub const fn days(self) -> i32 {
        self.0
    }

    /// The year; 0 is the year before 1.
    pub const fn year(self) -> i32 {
        self.civil().0
    }

    /// The month, 1 to 12.
    pub const fn month(self) -> u32 {
        self.civil().1
    }

    /// The day of the month, 1 to 31.
    pub const fn day(self) -> u32 {
        self.civil().2
    }

    /// The day of the week, from Monday = 1 to Sunday = 7, as in ISO 8601.
    pub const fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday.
        (self.0 as i64 + 3).rem_euclid(7) as u32 + 1
    }

    /// The first moment of the day, or `None` where microseconds cannot count that far: before
    /// the year -290308 or after 294247.
    #[inline]
    pub const fn midnight(self) -> Option<Timestamp> {
        match (self.0 as i64).checked_mul(MICROS_PER_DAY) {
            Some(micros) => Some(Timestamp(micros)),
            None => None,
        }
    }

    /// Days from `earlier` to this day; negative where it is later.
    pub const fn days_since(self, earlier: Date) -> i64 {
        self.0 as i64 - earlier.0 as i64
    }

    /// Year, month and day: the algorithm `civil_from_days` of Howard Hinnant. It counts from
    /// 0000-03-01, so that the leap day is the last of a year, in eras of 400 years.
    const fn civil(self) -> (i32, u32, u32) {
        let days = self.0 as i64 + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + (month <= 2) as i64;
        (year as i32, month as u32, day as u32)
    }
}

/// As in ISO 8601, `2024-02-29`.
impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(formatter, "{year:04}-{month:02}-{day:02}")
    }
}

/// A moment, counted in microseconds from 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment so many microseconds after 1970-01-01T00:00:00Z.
    #[inline]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[inline]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The day, in UTC.
    pub const fn date(self) -> Date {
        // 2⁶³ microseconds are 107 million days.
        Date(self.0.div_euclid(MICROS_PER_DAY) as i32)
    }

    /// The year, in UTC; 0 is the year before 1.
    pub const fn year(self) -> i32 {
        self.date().year()
    }

    /// The month, 1 to 12, in UTC.
    pub const fn month(self) -> u32 {
        self.date().month()
    }

    /// The day of the month, 1 to 31, in UTC.
    pub const fn day(self) -> u32 {
        self.date().day()
    }

    /// The day of the week, from Monday = 1 to Sunday = 7, in UTC.
    pub const fn weekday(self) -> u32 {
        self.date().weekday()
    }

    /// The hour, 0 to 23, in UTC.
    pub const fn hour(self) -> u32 {
        (self.second_of_day() / 3_600) as u32
    }

    /// The minute, 0 to 59.
    pub const fn minute(self) -> u32 {
        (self.second_of_day() / 60 % 60) as u32
    }

    /// The second, 0 to 59.
    pub const fn second(self) -> u32 {
        (self.second_of_day() % 60) as u32
    }

    /// The microsecond within the second, 0 to 999 999.
    pub const fn microsecond(self) -> u32 {
        self.0.rem_euclid(MICROS_PER_SECOND) as u32
    }

    /// Microseconds from `earlier` to this moment, negative where it is later, rounded once to a
    /// float.
    #[inline]
    pub fn micros_since(self, earlier: Timestamp) -> f64 {
        // The differences of the halves are floats without rounding, and so is what the upper one
        // counts for. This is as exact as a difference of 128 bits, and becomes SIMD.
        let upper = |moment: Timestamp| f64::from((moment.0 >> 32) as i32);
        let lower = |moment: Timestamp| f64::from(moment.0 as u32);
        let carry = (1_u64 << 32) as f64;
        (upper(self) - upper(earlier)) * carry + (lower(self) - lower(earlier))
    }

    /// Seconds from `earlier` to this moment; negative where it is later.
    #[inline]
    pub fn seconds_since(self, earlier: Timestamp) -> f64 {
        self.micros_since(earlier) / MICROS_PER_SECOND as f64
    }

    /// Days of 86 400 seconds from `earlier` to this moment; negative where it is later.
    #[inline]
    pub fn days_since(self, earlier: Timestamp) -> f64 {
        self.micros_since(earlier) / MICROS_PER_DAY as f64
    }

    const fn second_of_day(self) -> i64 {
        self.0.rem_euclid(MICROS_PER_DAY) / MICROS_PER_SECOND
    }
}

/// As in ISO 8601, `2024-02-29T12:30:00.000000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = (self.hour(), self.minute(), self.second());
        let (date, micros) = (self.date(), self.microsecond());
        write!(formatter, "{date}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

const fn is_leap_year(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01: the algorithm `days_from_civil` of Howard Hinnant.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - (month <= 2) as i64;
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// The calendar by counting, day after day, from both sides of 1970.
    #[test]
    fn agrees_with_counting_days() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..400_000 {
            check(days, year, month, day);
            day += 1;
            if day > days_in_month(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        (year, month, day) = (1970, 1, 1);
        for days in 0..800_000 {
            check(-days, year, month, day);
            day -= 1;
            if day == 0 {
                month -= 1;
                if month == 0 {
                    (year, month) = (year - 1, 12);
                }
                day = days_in_month(year, month);
            }
        }
    }

    fn check(days: i32, year: i32, month: u32, day: u32) {
        let date = Date::from_days(days);
        assert_eq!((date.year(), date.month(), date.day()), (year, month, day), "day {days}");
        assert_eq!(Date::from_ymd(year, month, day), Some(date));
    }

    #[test]
    fn days_that_do_not_exist_are_none() {
        for (year, month, day) in
            [(2023, 2, 29), (1900, 2, 29), (2024, 4, 31), (2024, 0, 1), (2024, 13, 1), (2024, 1, 0)]
        {
            assert_eq!(Date::from_ymd(year, month, day), None, "{year}-{month}-{day}");
        }
        assert_eq!(Date::from_ymd(i32::MAX, 1, 1), None);
    }

    #[test]
    fn the_ends_of_the_range_convert() {
        for days in [i32::MIN, i32::MAX] {
            let date = Date::from_days(days);
            assert_eq!(Date::from_ymd(date.year(), date.month(), date.day()), Some(date));
            assert_eq!(date.midnight(), None);
        }
        assert_eq!(Timestamp::from_micros(i64::MAX).year(), 294_247);
        assert_eq!(Timestamp::from_micros(i64::MIN).year(), -290_308);
    }

    #[test]
    fn midnight_is_the_first_moment_of_the_day() {
        for days in [-106_751_991, -1, 0, 1, 106_751_991] {
            let midnight = Date::from_days(days).midnight().expect("in range");
            assert_eq!(midnight.date(), Date::from_days(days));
            let before = Timestamp::from_micros(midnight.micros() - 1);
            assert_eq!(before.date(), Date::from_days(days - 1));
        }
        assert_eq!(Date::from_days(106_751_992).midnight(), None);
    }

    #[test]
    fn weekdays() {
        for (date, weekday) in [((1970, 1, 1), 4), ((2000, 1, 1), 6), ((1969, 12, 28), 7)] {
            let (year, month, day) = date;
            assert_eq!(Date::from_ymd(year, month, day).map(Date::weekday), Some(weekday));
        }
    }

    #[test]
    fn times_of_day_count_forward_before_1970() {
        let moment = Timestamp::from_micros(-1);
        assert_eq!(moment.to_string(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::from_micros(0).to_string(), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn differences_do_not_overflow() {
        let (first, last) = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
        assert_eq!(last.micros_since(first), 18_446_744_073_709_551_615_u64 as f64);
        assert_eq!(first.micros_since(last), -(18_446_744_073_709_551_615_u64 as f64));
        // Bits of all kinds, near to each other and far apart.
        let mut bits = 1_u64;
        let mut some = || {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (bits as i64) >> (bits >> 58)
        };
        for _ in 0..100_000 {
            let (one, other) = (some(), some());
            for (one, other) in [(one, other), (one, one.wrapping_add(other >> 40)), (one, one)] {
                let exact = (i128::from(one) - i128::from(other)) as f64;
                let micros =
                    Timestamp::from_micros(one).micros_since(Timestamp::from_micros(other));
                assert_eq!(micros.to_bits(), exact.to_bits(), "{one} - {other}");
            }
        }
        assert_eq!(
            Timestamp::from_micros(MICROS_PER_DAY).days_since(Timestamp::from_micros(0)),
            1.0
        );
        assert_eq!(Timestamp::from_micros(1_500_000).seconds_since(Timestamp::from_micros(0)), 1.5);
        assert_eq!(Date::from_days(i32::MAX).days_since(Date::from_days(i32::MIN)), 4_294_967_295);
    }
}
