#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

enum plain {}

export!(plain);

fn main() {}
