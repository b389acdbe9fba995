#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

#[derive(Outputs)]
struct Unnamed(f64, f64);

#[derive(Outputs)]
struct Empty {}

#[derive(Outputs)]
enum Either {
    One { x: f64 },
}

#[derive(Outputs)]
struct Generic<T> {
    x: T,
}

fn main() {}
