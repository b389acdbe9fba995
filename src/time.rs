//! Moments and spans: microseconds, UTC.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    error::{Error, Result},
    name::serde_as_text,
};
use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

/// A moment: microseconds since 1970-01-01T00:00:00Z, negative before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment the system's clock shows.
    pub fn now() -> Self {
        Self(Utc::now().timestamp_micros())
    }

    /// Appends the text that this shows, many times faster than by way of a formatter: answers have
    /// thousands of moments.
    pub fn write(self, out: &mut Vec<u8>) {
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        if !(0..=9999).contains(&year) {
            out.extend_from_slice(self.to_string().as_bytes());
            return;
        }
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        digits(year, &mut text[..4]);
        for (at, part) in [
            (5, month),
            (8, day),
            (11, second / 3_600),
            (14, second / 60 % 60),
            (17, second % 60),
            (20, micros / 1_000),
            (23, micros % 1_000),
        ] {
            let width = if at < 20 { 2 } else { 3 };
            digits(part, &mut text[at..at + width]);
        }
        let length = match (micros, micros % 1_000) {
            (0, _) => 19,
            (_, 0) => 23,
            _ => 26,
        };
        text[length] = b'Z';
        out.extend_from_slice(&text[..=length]);
    }

    /// `self - span`, stopping at the earliest moment there is.
    #[must_use]
    pub fn saturating_sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

/// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar: the
/// algorithm `civil_from_days` of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Writes the last digits of a number that is not negative, as many as there is room for.
fn digits(number: i64, room: &mut [u8]) {
    // Every number here is of a few digits.
    let mut rest = number as u32;
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// RFC 3339 with `Z` and as many fraction digits (0, 3 or 6) as it takes; outside the years
/// 0 to 9999, the count of microseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_range = |moment: &DateTime<Utc>| {
            let year = chrono::Datelike::year(moment);
            (0..=9999).contains(&year)
        };
        match DateTime::from_timestamp_micros(self.0).filter(in_range) {
            Some(moment) => f.write_str(&moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{} µs", self.0),
        }
    }
}

/// RFC 3339, or the same without a zone (then UTC), with a space for the `T`, or a date alone
/// (then its first moment). Digits below the microsecond are an error.
impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse_moment(text)
            .filter(|moment| moment.timestamp_subsec_nanos() % 1000 == 0)
            .map(|moment| Self(moment.timestamp_micros()))
            .ok_or_else(|| {
                Error::invalid(format!("not a moment: {text:?}")).with_hint(
                    "a moment is written 1997-06-30T12:00:00Z, with up to six fraction digits, \
                     or 1997-06-30; without a zone it is UTC",
                )
            })
    }
}

fn parse_moment(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.with_timezone(&Utc));
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"] {
        if let Ok(moment) = NaiveDateTime::parse_from_str(text, format) {
            return Some(moment.and_utc());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc())
}

/// A span of time: microseconds, not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span(pub i64);

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_micros(span.0.unsigned_abs())
    }
}

const UNITS: [(&str, i64); 7] = [
    ("w", 7 * 86_400_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// The span in the largest units that are whole: `90d`, `1h30m`, `0s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, size) in &UNITS[1..] {
            let count = rest / size;
            if count > 0 {
                write!(f, "{count}{unit}")?;
                rest -= count * size;
            }
        }
        Ok(())
    }
}

impl Span {
    /// The span for people: longer ones without the fraction of a second.
    #[must_use]
    pub fn in_whole_seconds(self) -> Self {
        match self.0 {
            ..1_000_000 => self,
            micros => Self(micros - micros % 1_000_000),
        }
    }
}

/// Counts with units `w`, `d`, `h`, `m`, `s`, `ms`, `us`, largest first: `30d`, `1d12h`.
impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse_span(text).map(Self).ok_or_else(|| {
            Error::invalid(format!("not a span of time: {text:?}")).with_hint(
                "a span is a count and a unit (w, d, h, m, s, ms, us), as in 30d or 1d12h",
            )
        })
    }
}

fn parse_span(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    let mut smallest = i64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let size = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?.1;
        if size >= smallest {
            return None;
        }
        smallest = size;
        total = total.checked_add(count.checked_mul(size)?)?;
        rest = &rest[letters..];
    }
    (smallest != i64::MAX).then_some(total)
}

/// A date, as days since 1970-01-01, in the form `1997-06-30`.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when `text` is no date of that form.
pub fn parse_date(text: &str) -> Result<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| {
        Error::invalid(format!("not a date: {text:?}")).with_hint("a date is written 1997-06-30")
    })?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days())
        .map_err(|_| Error::invalid(format!("date out of range: {text:?}")))
}

/// The form `1997-06-30` of a date given as days since 1970-01-01; `None` where the calendar of
/// the library ends (some 262,000 years away).
pub fn format_date(days: i32) -> Option<String> {
    let span = Days::new(u64::from(days.unsigned_abs()));
    let epoch = NaiveDate::default();
    let date = match days {
        0.. => epoch.checked_add_days(span),
        _ => epoch.checked_sub_days(span),
    };
    date.map(|date| date.to_string())
}

serde_as_text!(Timestamp, Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let check = |text: &str, micros: i64, shown: &str| {
            let moment: Timestamp = text.parse().unwrap();
            assert_eq!(moment.0, micros, "{text}");
            assert_eq!(moment.to_string(), shown, "{text}");
        };
        check("1970-01-01", 0, "1970-01-01T00:00:00Z");
        check("1970-01-01T00:00:00.000001Z", 1, "1970-01-01T00:00:00.000001Z");
        check("1969-12-31 23:59:59.999999", -1, "1969-12-31T23:59:59.999999Z");
        check("1970-01-01T02:00:00.5+02:00", 500_000, "1970-01-01T00:00:00.500Z");
        for bad in ["", "yesterday", "1970-13-01", "1970-01-01T00:00:00.0000001Z"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad:?}");
        }
        assert_eq!(Timestamp(i64::MAX).to_string(), "9223372036854775807 µs");
    }

    #[test]
    fn written_moments_are_those_shown() {
        let check = |micros: i64| {
            let mut written = Vec::new();
            Timestamp(micros).write(&mut written);
            assert_eq!(String::from_utf8(written).unwrap(), Timestamp(micros).to_string());
        };
        // Every first and last day of a month from the year -1 to 10001, and seconds around them.
        for days in -720_000..2_940_000 {
            let (_, _, day) = civil(days);
            if day == 1 {
                for micros in [-1, 0, 1_000, 86_399_999_999] {
                    check(days * 86_400_000_000 + micros);
                }
            }
        }
        [i64::MIN, i64::MAX, -1, 0, 1, 999_999, 500_000].into_iter().for_each(check);
    }

    #[test]
    fn spans() {
        let check = |text: &str, micros: i64, shown: &str| {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.0, span.to_string().as_str()), (micros, shown), "{text}");
        };
        check("30d", 30 * 86_400_000_000, "30d");
        check("2w", 14 * 86_400_000_000, "14d");
        check("1d12h", 129_600_000_000, "1d12h");
        check("0s", 0, "0s");
        check("1500ms", 1_500_000, "1s500ms");
        for bad in ["", "d", "5", "-1d", "1h1d", "1y", "99999999999999d", "1d1d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn dates() {
        for (text, days) in [("1970-01-01", 0), ("1969-12-31", -1), ("2000-02-29", 11_016)] {
            assert_eq!(parse_date(text).unwrap(), days);
            assert_eq!(format_date(days).as_deref(), Some(text));
        }
        assert_eq!(format_date(i32::MIN), None);
        assert!(parse_date("1999-02-29").is_err());
    }
}
