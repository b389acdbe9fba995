//! unskew.

pub mod definition;
pub mod digest;
pub mod error;
pub mod evaluate;
pub mod name;
pub mod time;
pub mod value;
pub mod wasm;
