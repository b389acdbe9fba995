//! A component against its source, compiled natively: where the two have another way to the same
//! values, such as SIMD, the values are the same to the bit.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, StringArray},
    datatypes::Float64Type,
};
use unskew::wasm::{Limits, Runtime, Transform, build};

fn load(name: &str) -> Arc<Transform> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transforms").join(name);
    let component = build(&folder).unwrap().component;
    Runtime::new(Limits::default(), None).unwrap().load(&component).unwrap()
}

/// What the function of this name makes of a column.
fn call(transform: &Transform, function: &str, input: ArrayRef) -> ArrayRef {
    let rows = input.len();
    let outcome = transform.call(transform.function(function).unwrap(), &[], &[input], rows);
    outcome.unwrap().columns.remove(0)
}

/// Every byte of ASCII and some others at every place of a block, and cuts of a long text at all
/// borders of blocks.
fn texts() -> Vec<String> {
    let mut texts = Vec::new();
    for character in (0..0x80_u8).map(char::from).chain(['ä', 'İ', '\u{2028}']) {
        for at in 0..20 {
            texts.push(format!("{}{character}{}", &"a Zz 09 word, Word 1"[..at], "B c"));
        }
    }
    let long = "4x4 in STOCK: one word,  Überlange_Wörter ".repeat(4) + &"aB9".repeat(50);
    for start in 0..80 {
        for end in start..long.len().min(start + 140) {
            texts.extend(long.get(start..end).map(str::to_owned));
        }
    }
    texts
}

#[test]
fn texts_become_the_same() {
    let component = load("text");
    for texts in texts().chunks(8_192) {
        let column = || Arc::new(StringArray::from_iter_values(texts)) as ArrayRef;
        let normal = call(&component, "normalise", column());
        let tokens = call(&component, "tokens", column());
        let (normal, tokens) = (normal.as_string::<i32>(), tokens.as_list::<i32>());
        for (row, text) in texts.iter().enumerate() {
            assert_eq!(normal.value(row), text::normalise(text), "{text:?}");
            let words = tokens.value(row);
            let words = words.as_string::<i32>().iter().flatten();
            assert!(words.eq(text::tokens(text).iter()), "{text:?}");
        }
    }
}

#[test]
fn logarithms_are_the_same() {
    let component = load("scale");
    // All magnitudes; near one; and what is no positive normal number.
    let any =
        (0..8_192_u64).map(|row| f64::from_bits(row.wrapping_mul(0x7fe3_9d15_4f6b_8c21) >> 1));
    let near = (0..8_192_u64).map(|row| f64::from_bits(0x3fed_f000_0000_0000 + (row << 35)));
    let odd = [0.0, -0.0, -1.0, 5e-324, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NAN];
    let numbers: Vec<f64> = any.chain(near).chain(odd).collect();
    let column = Arc::new(Float64Array::from(numbers.clone()));
    let logarithms = call(&component, "natural_log", column);
    for (x, component) in numbers.iter().zip(logarithms.as_primitive::<Float64Type>()) {
        assert_eq!(component.map(f64::to_bits), scale::natural_log(*x).map(f64::to_bits), "{x:e}");
    }
}
