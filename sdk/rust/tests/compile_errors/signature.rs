#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

#[transform]
async fn waits(x: f64) -> f64 {
    x
}

#[transform]
unsafe extern "C" fn foreign(x: f64) -> f64 {
    x
}

#[transform]
fn generic<T: Into<f64>, const N: usize>(x: T) -> f64 {
    x.into()
}

#[transform]
fn patterns((x, y): (f64, f64), _: f64) -> f64 {
    x + y
}

#[transform]
fn nothing(_x: f64) {}

#[transform(name = "other")]
fn option(x: f64) -> f64 {
    x
}

#[transform]
fn param_option(#[param(default = 1)] x: f64) -> f64 {
    x
}

#[transform]
struct NotAFunction;

fn main() {}
