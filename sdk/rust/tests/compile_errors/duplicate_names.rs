#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

#[transform]
fn same(x: f64, x: f64) -> f64 {
    x
}

fn main() {}
