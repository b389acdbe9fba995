#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

export!();

fn main() {}
