//! unskew.

pub mod definition;
pub mod digest;
pub mod error;
pub mod name;
pub mod offline;
pub mod time;
pub mod value;
