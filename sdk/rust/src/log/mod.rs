//! The natural logarithm: [`math::ln`](crate::math::ln), and in a component what `f64::ln` calls.
//!
//! It is that of Arm's Optimized Routines (`math/log.c`, MIT or Apache-2.0 with LLVM exception, ©
//! 2018–2025 Arm Limited) for machines without fused multiplication. It has a table instead of the
//! division of the one that Rust brings along for WebAssembly, takes two thirds of the time, and is
//! wrong by at most 0.52 units in the last place.

mod table;

use table::TABLE;

/// Where a logarithm near zero begins and ends, as bits: there the result must not be a difference.
const NEAR_ONE: core::ops::Range<u64> = 0x3fee_0000_0000_0000..0x3ff1_0900_0000_0000;

/// Where the range of the table begins, as bits; it ends at twice the number.
const START: u64 = 0x3fe6_0000_0000_0000;

/// The logarithm of 2 in two parts; the product of the first with an exponent is exact.
const LN_2: [f64; 2] = floats([0x3fe6_2e42_fefa_3800, 0x3d2e_f357_93c7_6730]);

/// The coefficients from r² on, for r near zero.
const SERIES: [f64; 5] = floats([
    0xbfe0_0000_0000_0001,
    0x3fd5_5555_5551_305b,
    0xbfcf_ffff_ffeb_4590,
    0x3fc9_99b3_24f1_0111,
    0xbfc5_5575_e506_c89f,
]);

/// The coefficients from r² on, for all r in [`NEAR_ONE`].
const NEAR_SERIES: [f64; 11] = floats([
    0xbfe0_0000_0000_0000,
    0x3fd5_5555_5555_5577,
    0xbfcf_ffff_ffff_fdcb,
    0x3fc9_9999_9995_dd0c,
    0xbfc5_5555_5567_45a7,
    0x3fc2_4924_a344_de30,
    0xbfbf_ffff_a442_3d65,
    0x3fbc_7184_282a_d6ca,
    0xbfb9_99eb_43b0_68ff,
    0x3fb7_8182_f7af_d085,
    0xbfb5_5213_75d1_45cd,
]);

const fn floats<const N: usize>(bits: [u64; N]) -> [f64; N] {
    let mut floats = [0.0; N];
    let mut at = 0;
    while at < N {
        floats[at] = f64::from_bits(bits[at]);
        at += 1;
    }
    floats
}

/// The symbol that the compiler calls for `f64::ln`.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
extern "C" fn log(x: f64) -> f64 {
    natural(x)
}

/// The natural logarithm; NaN for numbers below zero.
#[inline]
pub(crate) fn natural(x: f64) -> f64 {
    let bits = x.to_bits();
    if NEAR_ONE.contains(&bits) {
        return near_one(x - 1.0);
    }
    // Neither below the smallest normal number nor above all finite ones.
    if (bits >> 52).wrapping_sub(1) < 0x7fe { of_bits(bits) } else { unusual(x) }
}

/// The logarithm of a positive normal number, given as its bits: that of c, of what the number is
/// more than c, and of a power of two.
#[inline]
fn of_bits(bits: u64) -> f64 {
    let above = bits.wrapping_sub(START);
    let [inverse, log, c, c_rest] = TABLE[(above >> 45) as usize % TABLE.len()].map(f64::from_bits);
    let exponent = ((above as i64) >> 52) as f64;
    let z = f64::from_bits(bits.wrapping_sub(above & 0xfff << 52));
    let r = (z - c - c_rest) * inverse;

    let whole = exponent * LN_2[0] + log;
    let high = whole + r;
    let low = whole - high + r + exponent * LN_2[1];

    let [a, b, c, d, e] = SERIES;
    let square = r * r;
    low + square * a + r * square * (b + r * c + square * (d + r * e)) + high
}

/// The logarithm of 1 + r.
fn near_one(r: f64) -> f64 {
    let [a, b, c, d, e, f, g, h, i, j, k] = NEAR_SERIES;
    let square = r * r;
    let cube = r * square;
    let inner = h + r * i + square * j + cube * k;
    let tail = cube * (b + r * c + square * d + cube * (e + r * f + square * g + cube * inner));
    // The square in two parts, so that its sum with r is exact.
    let shift = r * (1_u64 << 27) as f64;
    let upper = r + shift - shift;
    let lower = r - upper;
    let half = upper * upper * a;
    let high = r + half;
    let low = r - high + half + a * lower * (upper + r);
    tail + low + high
}

/// The logarithm of what is no positive normal number.
#[cold]
fn unusual(x: f64) -> f64 {
    if x == 0.0 {
        f64::NEG_INFINITY
    } else if x == f64::INFINITY {
        x
    } else if x > 0.0 {
        // A number with leading zeros: one with 52 more bits, and 52 less in its exponent.
        of_bits((x * (1_u64 << 52) as f64).to_bits().wrapping_sub(52 << 52))
    } else {
        f64::NAN
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    fn check(x: f64) {
        let (ours, theirs) = (natural(x), x.ln());
        let distance = ours.to_bits().abs_diff(theirs.to_bits());
        assert!(distance <= 1 || (ours.is_nan() && theirs.is_nan()), "{x:e}: {ours:e}, {theirs:e}");
    }

    #[test]
    fn is_within_a_unit_in_the_last_place_of_the_other() {
        for x in [0.0, -0.0, 1.0, -1.0, 5e-324, 2.2e-308, f64::MIN_POSITIVE, f64::MAX] {
            check(x);
        }
        [f64::INFINITY, f64::NEG_INFINITY, f64::NAN].into_iter().for_each(check);
        assert_eq!(natural(1.0).to_bits(), 0);
        let mut bits = 1_u64;
        for _ in 0..1_000_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            check(f64::from_bits(bits >> 1));
            // Near one.
            check(f64::from_bits(0x3fe8_0000_0000_0000 + (bits >> 11)));
        }
    }
}
