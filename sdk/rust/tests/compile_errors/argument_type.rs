use unskew_sdk::prelude::*;

#[transform]
fn double(x: u32) -> f64 {
    f64::from(x) * 2.0
}

fn main() {}
