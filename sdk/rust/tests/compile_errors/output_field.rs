use unskew_sdk::prelude::*;

#[derive(Outputs)]
struct Sizes {
    width: usize,
}

fn main() {}
