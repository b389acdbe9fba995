//! Types of CSV columns that nothing declares: the narrowest one that keeps every value.
//!
//! | all values are | type |
//! |---|---|
//! | `true` and `false` | boolean |
//! | integers of 64 bits as they are written: `1`, not `01` or `+1` | int64 |
//! | such integers up to 2^53, and decimal numbers: `0.5`, `-1.25e-3` | float64 |
//! | dates: `1997-06-30` | date |
//! | anything else, or there are none | utf8 |

use crate::{time::parse_date, value::DataType};

/// The greatest integer up to which every one is a 64-bit float.
const EXACT: u64 = 1 << 53;

/// The type that the values of a column have in common, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Common {
    boolean: bool,
    integer: bool,
    float: bool,
    date: bool,
    any: bool,
}

impl Common {
    /// Before the first value.
    pub(super) const NONE: Self =
        Self { boolean: true, integer: true, float: true, date: true, any: false };

    /// Takes in a value, which is not empty.
    pub(super) fn add(&mut self, text: &str) {
        self.any = true;
        self.boolean = self.boolean && matches!(text, "true" | "false");
        let number = self.integer || self.float;
        let integral = number && is_integral(text);
        self.integer = self.integer && integral && text.parse::<i64>().is_ok();
        self.float = self.float
            && match integral {
                true => text.parse().is_ok_and(|integer: i64| integer.unsigned_abs() <= EXACT),
                false => is_decimal(text),
            };
        self.date = self.date && parse_date(text).is_ok();
    }

    /// The type.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self { any: false, .. } => DataType::Utf8,
            Self { boolean: true, .. } => DataType::Boolean,
            Self { integer: true, .. } => DataType::Int64,
            Self { float: true, .. } => DataType::Float64,
            Self { date: true, .. } => DataType::Date,
            _ => DataType::Utf8,
        }
    }
}

/// Digits, perhaps after a minus, without zeros in front.
fn is_integral(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.starts_with('0') && text != "0";
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && !leading_zero
}

/// An integer with a fraction, an exponent or both behind it, that a float can be.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let signless = |text| str::strip_prefix(text, ['+', '-']).unwrap_or(text);
    (is_integral(whole) || whole == "-0")
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(signless(exponent)))
        && text.parse().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_keeps_every_value() {
        let check = |texts: &[&str], expect: DataType| {
            let mut common = Common::NONE;
            texts.iter().for_each(|text| common.add(text));
            assert_eq!(common.data_type(), expect, "{texts:?}");
        };
        check(&[], DataType::Utf8);
        check(&["true", "false"], DataType::Boolean);
        check(&["true", "1"], DataType::Utf8);
        check(&["0", "-1", "9223372036854775807"], DataType::Int64);
        for text in ["01", "+1", "-", "9223372036854775808", "1 "] {
            check(&["1", text], DataType::Utf8);
        }
        check(&["1", "0.5", "-1.25e-3", "1E+3", "-0.0", "-0"], DataType::Float64);
        check(&["0.5", "9007199254740993"], DataType::Utf8);
        for text in ["01.5", ".5", "1.", "1e", "1e999", "NaN", "inf"] {
            check(&["0.5", text], DataType::Utf8);
        }
        check(&["1997-06-30", "2000-02-29"], DataType::Date);
        check(&["1997-06-30", "2000-02-30"], DataType::Utf8);
        check(&["1997-06-30T12:00:00Z"], DataType::Utf8);
    }
}
