//! Numbers on the scale that a model was fitted to.

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

export!(standardize);

#[cfg(test)]
mod tests {
    use super::*;
    use unskew_sdk::testing::{batch, column, rows};

    #[test]
    fn params_hold_for_every_row() {
        let params = [column([10.0]), column([2.0])];
        let inputs = batch(3, [column([Some(8.0), None, Some(13.0)])]);
        let outcome = TRANSFORM.apply(0, &params, &inputs).expect("the inputs fit");
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
    fn a_null_param_fails_the_call() {
        let params = [column([10.0]), column([None::<f64>])];
        let failure = TRANSFORM.apply(0, &params, &batch(1, [column([8.0])])).unwrap_err();
        let message = "`standardize` was not run: parameter `std` is null, but must have a value";
        assert_eq!(failure.message, message);
    }
}
