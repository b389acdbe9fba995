#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

#[derive(Outputs)]
struct Sizes {
    width: f64,
}

#[transform(output = "sizes")]
fn sizes(width: f64) -> Sizes {
    Sizes { width }
}

fn main() {}
