//! (function, batch) → columns: the one door to a guest.
//!
//! Every path of a value goes through here: training datasets, materialization, serving, audits.
//! What a function gives for a row depends on that row and the params alone, so how rows are cut
//! into calls changes no value.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array},
    compute::concat,
    datatypes::Schema,
};

use crate::{
    definition::OnError,
    digest::Digest,
    error::{Error, Kind, Result, did_you_mean},
    value::{DataType, Field, Function, Scalar},
    wasm::{Outcome, RowError, Transform},
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
}

/// A binding that fits its function.
#[derive(Debug)]
pub struct Evaluation {
    transform: Arc<Transform>,
    function: usize,
    params: Vec<ArrayRef>,
    /// The column for each input, in the order of the signature.
    inputs: Vec<String>,
    /// The place of the output for each column wanted.
    outputs: Vec<usize>,
    /// The columns wanted.
    fields: Vec<Field>,
    on_error: OnError,
}

/// What an evaluation gives for a batch.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// One array for each of [`Evaluation::fields`], as long as the batch, rows in its order.
    pub columns: Vec<ArrayRef>,
    /// Rows for which the function has no value, ascending. They are null in every column.
    pub errors: Vec<RowError>,
}

impl Evaluation {
    /// Checks a binding against the signature of its function.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for an unknown function; [`Kind::Invalid`] for params and inputs that
    /// are missing or unknown, params of another type, unknown outputs and columns named twice.
    pub fn new(transform: Arc<Transform>, binding: &Binding) -> Result<Self> {
        let function = transform.function(&binding.function)?;
        let signature = &transform.functions()[function];
        let misfit = |error: Error| {
            let digest = transform.digest().short();
            error.context(format!(
                "cannot use function \"{}\" of {digest}",
                binding.function
            ))
        };
        let params = bind_params(signature, &binding.params).map_err(misfit)?;
        let inputs = bind("input", &signature.inputs, &binding.inputs).map_err(misfit)?;
        let inputs = inputs
            .into_iter()
            .map(|(_, column)| column.clone())
            .collect();
        let (outputs, fields) = bind_outputs(signature, &binding.outputs).map_err(misfit)?;
        let on_error = binding.on_error;
        Ok(Self {
            transform,
            function,
            params,
            inputs,
            outputs,
            fields,
            on_error,
        })
    }

    /// The columns that [`run`](Self::run) gives, in order. Any may hold nulls.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The columns that a batch needs to have, with their types.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, DataType)> {
        let types = self.signature().inputs.iter().map(|input| input.data_type);
        self.inputs.iter().map(String::as_str).zip(types)
    }

    /// The digest of the transform.
    pub fn digest(&self) -> Digest {
        self.transform.digest()
    }

    fn signature(&self) -> &Function {
        &self.transform.functions()[self.function]
    }

    /// Computes the columns for a batch, in one call; in more where the batch is over the limits
    /// of a call, and in none where it is empty.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the batch lacks a column or has one of another type;
    /// [`Kind::Transform`] when the function fails as a whole, or for any row where the binding
    /// says so; [`Kind::Limit`] when a single row is over the limits.
    pub fn run(&self, batch: &RecordBatch) -> Result<Evaluated> {
        let inputs = self.inputs.iter().map(|column| self.column(batch, column));
        let inputs: Vec<ArrayRef> = inputs.collect::<Result<_>>()?;
        let mut pieces = Vec::new();
        if batch.num_rows() > 0 {
            self.call(&inputs, 0..batch.num_rows(), &mut pieces)?;
        }
        self.join(pieces)
    }

    /// The batch with the columns of [`run`](Self::run) behind its own, and the row errors.
    ///
    /// # Errors
    /// Those of [`run`](Self::run); [`Kind::Invalid`] when the batch has a column of that name
    /// already.
    pub fn append(&self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<RowError>)> {
        let schema = batch.schema();
        if let Some(taken) = self
            .fields
            .iter()
            .find(|field| schema.column_with_name(&field.name).is_some())
        {
            return Err(Error::invalid(format!(
                "two columns of the name \"{}\"",
                taken.name
            )));
        }
        let Evaluated { columns, errors } = self.run(batch)?;
        let added = self.fields.iter().map(|field| Arc::new(field.to_arrow()));
        let fields = schema
            .fields()
            .iter()
            .cloned()
            .chain(added)
            .collect::<Vec<_>>();
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        let columns = batch.columns().iter().cloned().chain(columns).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)
            .map_err(|error| Error::internal(format!("cannot append columns: {error}")))?;
        Ok((batch, errors))
    }

    fn column(&self, batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
        batch.column_by_name(name).cloned().ok_or_else(|| {
            let schema = batch.schema();
            let names = schema.fields().iter().map(|field| field.name().as_str());
            Error::invalid(format!(
                "function \"{}\" needs column \"{name}\", and the batch has none",
                self.signature().name
            ))
            .with_hint(did_you_mean(name, names))
        })
    }

    /// Calls the function on these rows; on each half of them where they are over a limit.
    fn call(
        &self,
        inputs: &[ArrayRef],
        rows: Range<usize>,
        pieces: &mut Vec<Outcome>,
    ) -> Result<()> {
        let slices: Vec<_> = inputs
            .iter()
            .map(|input| input.slice(rows.start, rows.len()))
            .collect();
        match self
            .transform
            .call(self.function, &self.params, &slices, rows.len())
        {
            Err(error) if error.kind() == Kind::Limit && rows.len() > 1 => {
                let middle = rows.start + rows.len() / 2;
                self.call(inputs, rows.start..middle, pieces)?;
                self.call(inputs, middle..rows.end, pieces)
            }
            Err(error) => Err(error),
            Ok(mut outcome) => {
                for error in &mut outcome.errors {
                    error.row += rows.start as u32;
                }
                self.check_errors(&outcome.errors)?;
                pieces.push(outcome);
                Ok(())
            }
        }
    }

    fn check_errors(&self, errors: &[RowError]) -> Result<()> {
        match (self.on_error, errors.first()) {
            (OnError::Fail, Some(first)) => Err(Error::transform(format!(
                "function \"{}\" of {} failed in row {}: {}",
                self.signature().name,
                self.digest().short(),
                first.row,
                first.message
            ))
            .with_hint("with on_error = \"null\", rows that fail are null and counted")),
            _ => Ok(()),
        }
    }

    /// The wanted columns of all pieces, one behind the other.
    fn join(&self, pieces: Vec<Outcome>) -> Result<Evaluated> {
        let column = |(output, field): (&usize, &Field)| {
            let parts: Vec<&dyn Array> = pieces
                .iter()
                .map(|piece| &*piece.columns[*output])
                .collect();
            match parts.as_slice() {
                [] => Ok(new_empty_array(&field.data_type.to_arrow())),
                [_] => Ok(Arc::clone(&pieces[0].columns[*output])),
                parts => concat(parts)
                    .map_err(|error| Error::internal(format!("cannot join columns: {error}"))),
            }
        };
        let columns = self
            .outputs
            .iter()
            .zip(&self.fields)
            .map(column)
            .collect::<Result<_>>()?;
        let errors = pieces.into_iter().flat_map(|piece| piece.errors).collect();
        Ok(Evaluated { columns, errors })
    }
}

/// What is given for each field, in the order of the fields.
fn bind<'a, T>(
    what: &str,
    fields: &'a [Field],
    given: &'a BTreeMap<String, T>,
) -> Result<Vec<(&'a Field, &'a T)>> {
    let names = || fields.iter().map(|field| field.name.as_str());
    if let Some(unknown) = given
        .keys()
        .find(|name| names().all(|known| known != *name))
    {
        return Err(Error::invalid(format!("no {what} \"{unknown}\""))
            .with_hint(did_you_mean(unknown, names())));
    }
    let bound = fields.iter().map(|field| match given.get(&field.name) {
        Some(value) => Ok((field, value)),
        None => Err(Error::invalid(format!(
            "nothing is given for {what} \"{}\"",
            field.name
        ))),
    });
    bound.collect()
}

fn bind_params(signature: &Function, given: &BTreeMap<String, Scalar>) -> Result<Vec<ArrayRef>> {
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

/// The places of the wanted outputs, and the fields of their columns.
fn bind_outputs(
    signature: &Function,
    wanted: &[(String, String)],
) -> Result<(Vec<usize>, Vec<Field>)> {
    let mut columns = BTreeSet::new();
    let bound = wanted.iter().map(|(output, column)| {
        if !columns.insert(column) {
            return Err(Error::invalid(format!(
                "two columns of the name \"{column}\""
            )));
        }
        let names = || signature.outputs.iter().map(|field| field.name.as_str());
        let place = names().position(|name| name == output).ok_or_else(|| {
            Error::invalid(format!("no output \"{output}\""))
                .with_hint(did_you_mean(output, names()))
        })?;
        let field = signature.outputs[place].clone();
        Ok((
            place,
            Field {
                name: column.clone(),
                nullable: true,
                ..field
            },
        ))
    });
    let bound: Vec<_> = bound.collect::<Result<_>>()?;
    Ok(bound.into_iter().unzip())
}
