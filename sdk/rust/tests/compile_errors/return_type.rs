use unskew_sdk::prelude::*;

#[transform]
fn pair(x: f64) -> (f64, f64) {
    (x, -x)
}

fn main() {}
