//! Functions of numbers, with the same bits in a component and where it is tested.

use crate::log;

/// The natural logarithm: negative infinity for zero, NaN for numbers below it. Wrong by at most
/// 0.52 units in the last place.
///
/// In a component [`f64::ln`](https://doc.rust-lang.org/std/primitive.f64.html#method.ln) gives the
/// same bits, and takes longer, since it is a call for each row; this becomes part of the loop. On
/// other machines it gives the bits of their C library.
///
/// ```
/// assert_eq!(unskew_sdk::math::ln(1.0), 0.0);
/// assert!(unskew_sdk::math::ln(-1.0).is_nan());
/// ```
#[inline]
pub fn ln(x: f64) -> f64 {
    log::natural(x)
}
