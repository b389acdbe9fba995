use unskew_sdk::prelude::*;

#[transform]
fn above(x: f64, #[param] thresholds: &[f64]) -> bool {
    thresholds.iter().any(|threshold| x > *threshold)
}

fn main() {}
