#![allow(unused, non_camel_case_types)]

use unskew_sdk::prelude::*;

#[transform]
fn numbers(a: u32, b: Option<usize>, c: char, d: [f64; 2], e: impl Into<f64>) -> (f64, f64) {
    (f64::from(a), e.into())
}

#[transform]
fn lists(a: Vec<Option<f64>>, b: &[i32], c: Vec<Vec<f64>>, d: &[bool], bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[transform]
fn results(x: f64) -> Result<Option<u64>, String> {
    Ok(Some(x as u64))
}

#[derive(Outputs)]
struct Sizes {
    width: usize,
}

fn main() {}
