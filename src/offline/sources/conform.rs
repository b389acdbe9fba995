//! Conforming as a function of DataFusion: the border that every column of a source crosses.

use arrow::{
    array::{Array, ArrayRef, new_empty_array},
    datatypes::DataType as ArrowType,
};
use datafusion::{
    common::{Result, internal_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

use crate::offline::errors::external;
use crate::{
    error::Error,
    value::{self, DataType},
};

/// [`value::conform`] of a column of a source, whose errors name both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Conform {
    source: String,
    column: String,
    data_type: DataType,
    required: bool,
    signature: Signature,
}

impl Conform {
    pub(super) fn new(source: &str, column: &str, data_type: DataType) -> Self {
        Self {
            source: source.to_owned(),
            column: column.to_owned(),
            data_type,
            required: false,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    /// The same, where null is an error.
    pub(super) fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The conformed column.
    pub(super) fn call(self) -> Expr {
        let column = datafusion::logical_expr::ident(self.column.clone());
        ScalarUDF::new_from_impl(self).call(vec![column])
    }

    fn conform(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let (source, name) = (&self.source, &self.column);
        let conformed = value::conform(column, self.data_type).map_err(|error| {
            external(error.context(format!("source \"{source}\", column \"{name}\"")))
        })?;
        let nulls = conformed.null_count();
        if self.required && nulls > 0 {
            return Err(external(
                Error::invalid(format!(
                    "source \"{source}\", column \"{name}\": {nulls} of {} rows read at once have no event time",
                    conformed.len()
                ))
                .with_hint("a row without an event time is known at no time; remove such rows, in SQL for instance"),
            ));
        }
        Ok(conformed)
    }
}

impl ScalarUDFImpl for Conform {
    fn name(&self) -> &str {
        "conform"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[ArrowType]) -> Result<ArrowType> {
        match types {
            [held] => Ok(self.conform(&new_empty_array(held))?.data_type().clone()),
            _ => internal_err!("conform takes one column, not {}", types.len()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        match columns.as_slice() {
            [column] => Ok(ColumnarValue::Array(self.conform(column)?)),
            _ => internal_err!("conform takes one column, not {}", columns.len()),
        }
    }
}
