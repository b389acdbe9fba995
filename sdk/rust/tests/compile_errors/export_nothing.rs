use unskew_sdk::prelude::*;

export!();

fn main() {}
