use unskew_sdk::prelude::*;

enum plain {}

export!(plain);

fn main() {}
