//! Write transforms for unskew: ordinary functions on scalars, compiled to a WebAssembly component.
//!
//! ```
//! use unskew_sdk::prelude::*;
//!
//! /// Years between birth and the moment of the request.
//! #[transform]
//! fn age_years(
//!     /// The day of birth.
//!     birth_date: Date,
//!     /// The moment of the request.
//!     event_time: Timestamp,
//! ) -> Option<f64> {
//!     Some(event_time.days_since(birth_date.midnight()?) / 365.2425)
//! }
//!
//! export!(age_years);
//! # fn main() {}
//! ```
//!
//! [`transform`](macro@transform) makes the loop over a batch, the handling of nulls and the
//! description; [`export!`] makes the component. The guide is the README of this crate.

#![no_std]

extern crate alloc;

pub mod abi;
mod bitmap;
mod call;
mod input;
mod output;
mod slot;
pub mod testing;
mod time;
mod transform;

pub use input::{Input, InputValue, Param, Scalar, StrList};
pub use output::{OutputField, OutputValue, Outputs, Returned};
pub use time::{Date, Timestamp};
pub use transform::{Entry, Transform, TransformFunction};
pub use unskew_sdk_macros::{Outputs, export, transform};

/// What a transform's source needs: `use unskew_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{Date, Outputs, StrList, Timestamp, export, transform};
}

/// What the macros write; not for people.
#[doc(hidden)]
pub mod __private {
    pub use crate::abi::{Batch, Column, DataType, Failure, Field, Function, Guest, Outcome};
    pub use crate::call::Call;
    pub use crate::input::InputValue;
    pub use crate::output::ColumnWriter;
    pub use alloc::string::String;
    pub use alloc::vec::Vec;
    pub use alloc::{borrow::ToOwned, vec};
}
