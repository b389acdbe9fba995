#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

mod inner {
    use unskew_sdk::prelude::*;

    #[transform]
    pub fn one(x: f64) -> f64 {
        x
    }
}

use inner::one;

export!(one, inner::one);

fn main() {}
