use unskew_sdk::prelude::*;

#[transform]
fn total(numbers: Vec<Option<f64>>) -> f64 {
    numbers.into_iter().flatten().sum()
}

fn main() {}
