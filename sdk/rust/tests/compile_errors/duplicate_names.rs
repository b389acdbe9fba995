use unskew_sdk::prelude::*;

#[transform]
fn same(x: f64, x: f64) -> f64 {
    x
}

fn main() {}
