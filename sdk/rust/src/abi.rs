//! The types of the component ABI, generated from `wit/transform.wit`, where they are documented.

#[allow(missing_docs)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "transform",
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "unskew_sdk::abi",
    });
}

pub use bindings::exports::unskew::transform::functions::{
    Batch, Column, DataType, Failure, Field, Function, Guest, Outcome, RowError, Values, VarBytes,
    VarFloat32, VarFloat64, VarInt64, VarUtf8,
};
#[doc(hidden)]
pub use bindings::{export_component, exports};

impl Values {
    /// The type of these values.
    pub fn data_type(&self) -> DataType {
        match self {
            Values::Boolean(_) => DataType::Boolean,
            Values::Int32(_) => DataType::Int32,
            Values::Int64(_) => DataType::Int64,
            Values::Float32(_) => DataType::Float32,
            Values::Float64(_) => DataType::Float64,
            Values::Utf8(_) => DataType::Utf8,
            Values::Binary(_) => DataType::Binary,
            Values::Date(_) => DataType::Date,
            Values::Timestamp(_) => DataType::Timestamp,
            Values::ListInt64(_) => DataType::ListInt64,
            Values::ListFloat32(_) => DataType::ListFloat32,
            Values::ListFloat64(_) => DataType::ListFloat64,
            Values::ListUtf8(_) => DataType::ListUtf8,
        }
    }
}

impl DataType {
    /// The type's name in the ABI.
    pub fn name(self) -> &'static str {
        match self {
            DataType::Boolean => "boolean",
            DataType::Int32 => "int32",
            DataType::Int64 => "int64",
            DataType::Float32 => "float32",
            DataType::Float64 => "float64",
            DataType::Utf8 => "utf8",
            DataType::Binary => "binary",
            DataType::Date => "date",
            DataType::Timestamp => "timestamp",
            DataType::ListInt64 => "list-int64",
            DataType::ListFloat32 => "list-float32",
            DataType::ListFloat64 => "list-float64",
            DataType::ListUtf8 => "list-utf8",
        }
    }
}
