//! The component ABI in Rust: one module for each published version of `wit/`, kept for ever.

/// `unskew:transform@1.0.0`.
pub(super) mod v1 {
    // Borrowing: an Arrow buffer is lowered straight from its slice.
    wasmtime::component::bindgen!({
        path: "wit/transform.wit",
        world: "transform",
        ownership: Borrowing { duplicate_if_necessary: true },
    });

    pub(crate) use exports::unskew::transform::functions::*;
}

use crate::value::DataType;

/// The interface a transform exports, with its version.
pub(super) const INTERFACE: &str = "unskew:transform/functions@1.0.0";

impl From<v1::DataType> for DataType {
    fn from(data_type: v1::DataType) -> Self {
        match data_type {
            v1::DataType::Boolean => Self::Boolean,
            v1::DataType::Int32 => Self::Int32,
            v1::DataType::Int64 => Self::Int64,
            v1::DataType::Float32 => Self::Float32,
            v1::DataType::Float64 => Self::Float64,
            v1::DataType::Utf8 => Self::Utf8,
            v1::DataType::Binary => Self::Binary,
            v1::DataType::Date => Self::Date,
            v1::DataType::Timestamp => Self::Timestamp,
            v1::DataType::ListInt64 => Self::ListInt64,
            v1::DataType::ListFloat32 => Self::ListFloat32,
            v1::DataType::ListFloat64 => Self::ListFloat64,
            v1::DataType::ListUtf8 => Self::ListUtf8,
        }
    }
}
