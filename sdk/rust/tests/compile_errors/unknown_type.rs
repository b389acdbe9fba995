#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

struct Money(i64);

#[transform]
fn double(x: Money) -> i64 {
    x.0 * 2
}

#[transform]
fn money(x: i64) -> Money {
    Money(x)
}

fn main() {}
