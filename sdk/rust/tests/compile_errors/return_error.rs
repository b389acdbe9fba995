#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

struct Unprintable;

#[transform]
fn checked(x: f64) -> Result<f64, Unprintable> {
    if x > 0.0 { Ok(x) } else { Err(Unprintable) }
}

fn main() {}
