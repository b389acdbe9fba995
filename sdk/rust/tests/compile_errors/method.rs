#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

struct Scale(f64);

impl Scale {
    #[transform]
    fn scaled(&self, x: f64) -> f64 {
        x * self.0
    }
}

fn main() {}
