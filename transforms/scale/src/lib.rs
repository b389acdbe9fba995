//! Numbers on the scale that a model was fitted to.

use unskew_sdk::math::ln;
use unskew_sdk::prelude::*;

/// `(x - mean) / std`. A row error in every row where `std` is not a positive finite number, since
/// the model was then fitted to nothing.
#[transform]
pub fn standardize(
    /// The number to scale.
    x: f64,
    /// The mean of `x` in the training data.
    #[param]
    mean: f64,
    /// The standard deviation of `x` in the training data.
    #[param]
    std: f64,
) -> Result<f64, &'static str> {
    if std > 0.0 && std.is_finite() {
        Ok((x - mean) / std)
    } else {
        Err("std must be a positive finite number")
    }
}

/// The natural logarithm; null for zero and below, and for NaN.
#[transform]
pub fn natural_log(
    /// The number.
    x: f64,
) -> Option<f64> {
    (x > 0.0).then(|| ln(x))
}

/// Which of some buckets of equal width the number falls into, from 0; numbers below the lowest
/// bucket fall into it, and those above the highest into that one. Null for NaN. A row error in
/// every row where the buckets are none.
#[transform]
pub fn bucket(
    /// The number.
    x: f64,
    /// Where the lowest bucket begins.
    #[param]
    low: f64,
    /// Where the highest bucket ends.
    #[param]
    high: f64,
    /// How many buckets there are.
    #[param]
    buckets: i64,
) -> Result<Option<i64>, &'static str> {
    let width = (high - low) / buckets as f64;
    if buckets < 1 || !(width > 0.0 && width.is_finite()) {
        return Err("the buckets must be at least one, and from a number to a greater one");
    }
    if x.is_nan() {
        return Ok(None);
    }
    Ok(Some((((x.clamp(low, high) - low) / width) as i64).min(buckets - 1)))
}

export!(standardize, natural_log, bucket);

#[cfg(test)]
mod tests {
    use super::*;
    use unskew_sdk::testing::{batch, column, rows};

    #[test]
    fn params_hold_for_every_row() {
        let params = [column([10.0]), column([2.0])];
        let inputs = batch(3, [column([Some(8.0), None, Some(13.0)])]);
        let outcome = TRANSFORM.apply(0, &params, inputs).expect("the inputs fit");
        assert_eq!(rows::<Option<f64>>(&outcome.columns[0], 3), [Some(-1.0), None, Some(1.5)]);
        assert_eq!(outcome.errors, []);
    }

    #[test]
    fn a_scale_that_is_none_is_a_row_error() {
        for std in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert!(standardize(1.0, 0.0, std).is_err(), "{std}");
        }
    }

    #[test]
    fn logarithms_are_of_positive_numbers() {
        assert_eq!(natural_log(1.0), Some(0.0));
        for x in [0.0, -1.0, f64::NAN] {
            assert_eq!(natural_log(x), None, "{x}");
        }
    }

    #[test]
    fn buckets_hold_everything_but_nan() {
        for (x, expected) in [
            (f64::NEG_INFINITY, 0),
            (-1.0, 0),
            (0.0, 0),
            (2.5, 1),
            (9.999, 3),
            (10.0, 3),
            (f64::INFINITY, 3),
        ] {
            assert_eq!(bucket(x, 0.0, 10.0, 4), Ok(Some(expected)), "{x}");
        }
        assert_eq!(bucket(f64::NAN, 0.0, 10.0, 4), Ok(None));
        for (low, high, buckets) in [(0.0, 1.0, 0), (1.0, 1.0, 4), (f64::NAN, 1.0, 4)] {
            assert!(bucket(0.5, low, high, buckets).is_err(), "{low} {high} {buckets}");
        }
    }

    #[test]
    fn a_null_param_fails_the_call() {
        let params = [column([10.0]), column([None::<f64>])];
        let failure = TRANSFORM.apply(0, &params, batch(1, [column([8.0])])).unwrap_err();
        let message = "`standardize` was not run: parameter `std` is null, but must have a value";
        assert_eq!(failure.message, message);
    }
}
