#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

#[transform]
fn above(
    x: f64,
    #[param] slice: &[f64],
    #[param] vector: Option<Vec<i64>>,
    #[param] strings: StrList,
    #[param] bytes: &[u8],
) -> bool {
    slice.iter().any(|threshold| x > *threshold)
}

fn main() {}
