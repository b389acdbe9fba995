//! What a definition says of a function's params, inputs and outputs, against its signature.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::ArrayRef;

use crate::{
    definition::{CallLimits, OnError},
    error::{Error, Result, did_you_mean},
    value::{Field, Function, Scalar},
};

/// How a function of a transform is put to use on batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The function.
    pub function: String,
    /// A constant for every param of the function, by the param's name.
    pub params: BTreeMap<String, Scalar>,
    /// The column of the batch for every input of the function, by the input's name.
    pub inputs: BTreeMap<String, String>,
    /// The columns wanted, in order: the output of the function and the name of its column. An
    /// output may be left out, and may be wanted more than once.
    pub outputs: Vec<(String, String)>,
    /// What happens to a row for which the function has no value.
    pub on_error: OnError,
    /// What a call may use, where that is less than the runtime allows.
    pub limits: CallLimits,
}

/// What is given for each field, in the order of the fields.
fn bind<'a, T>(
    what: &str,
    fields: &'a [Field],
    given: &'a BTreeMap<String, T>,
) -> Result<Vec<(&'a Field, &'a T)>> {
    let names = || fields.iter().map(|field| field.name.as_str());
    if let Some(unknown) = given.keys().find(|name| names().all(|known| known != *name)) {
        return Err(Error::invalid(format!("no {what} \"{unknown}\""))
            .with_hint(did_you_mean(unknown, names())));
    }
    let bound = fields.iter().map(|field| match given.get(&field.name) {
        Some(value) => Ok((field, value)),
        None => Err(Error::invalid(format!("nothing is given for {what} \"{}\"", field.name))),
    });
    bound.collect()
}

/// The constants, each a column of one row, in the order of the signature.
pub(super) fn bind_params(
    signature: &Function,
    given: &BTreeMap<String, Scalar>,
) -> Result<Vec<ArrayRef>> {
    let bound = bind("param", &signature.params, given)?;
    let param = |(field, scalar): (&Field, &Scalar)| {
        if scalar.data_type() != field.data_type {
            let (given, declared) = (scalar.data_type(), field.data_type);
            let name = &field.name;
            return Err(Error::invalid(format!(
                "param \"{name}\" is {given} instead of {declared}"
            )));
        }
        scalar.to_array()
    };
    bound.into_iter().map(param).collect()
}

/// The columns for the inputs, in the order of the signature.
pub(super) fn bind_inputs(
    signature: &Function,
    given: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let bound = bind("input", &signature.inputs, given)?;
    Ok(bound.into_iter().map(|(_, column)| column.clone()).collect())
}

/// The places of the wanted outputs, and the fields of their columns.
pub(super) fn bind_outputs(
    signature: &Function,
    wanted: &[(String, String)],
) -> Result<(Vec<usize>, Vec<Field>)> {
    let mut columns = BTreeSet::new();
    let bound = wanted.iter().map(|(output, column)| {
        if !columns.insert(column) {
            return Err(Error::invalid(format!("two columns of the name \"{column}\"")));
        }
        let names = || signature.outputs.iter().map(|field| field.name.as_str());
        let place = names().position(|name| name == output).ok_or_else(|| {
            Error::invalid(format!("no output \"{output}\""))
                .with_hint(did_you_mean(output, names()))
        })?;
        let field = signature.outputs[place].clone();
        Ok((place, Field { name: column.clone(), nullable: true, ..field }))
    });
    let bound: Vec<_> = bound.collect::<Result<_>>()?;
    Ok(bound.into_iter().unzip())
}
