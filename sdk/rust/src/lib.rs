#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;

pub mod abi;
mod bitmap;
mod block;
mod call;
#[cfg(any(target_arch = "wasm32", test))]
mod heap;
mod input;
mod log;
pub mod math;
mod output;
mod reader;
mod room;
mod rows;
mod slot;
mod string_list;
pub mod testing;
pub mod text;
mod time;
mod transform;
mod vector;
mod words;
mod writer;

pub use input::{Input, Param, Scalar};
pub use output::{OutputField, Outputs, Returned};
pub use reader::{InputValue, StrList};
pub use string_list::StringList;
pub use time::{Date, Timestamp};
pub use transform::{Entry, Transform, TransformFunction};
pub use unskew_sdk_macros::{Outputs, export, transform};
pub use writer::OutputValue;

/// What a transform's source needs: `use unskew_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{Date, Outputs, StrList, StringList, Timestamp, export, transform};
}

/// What the macros write; not for people.
#[doc(hidden)]
pub mod __private {
    pub use crate::abi::{Batch, Column, DataType, Failure, Field, Function, Guest, Outcome};
    pub use crate::call::Call;
    pub use crate::reader::InputValue;
    pub use crate::room::Room;
    pub use crate::rows::Wanted;
    pub use crate::writer::{ColumnWriter, OutputValue};
    pub use alloc::string::String;
    pub use alloc::vec::Vec;
    pub use alloc::{borrow::ToOwned, vec};
}
