//! A transform that is ready to be called.

use arrow::{
    array::{Array, ArrayRef},
    buffer::{BooleanBuffer, NullBuffer},
};

use super::{
    bindings::{Functions, v1},
    columns::{Answer, Lowered, lift, lower, settle},
    description::describe,
    sandbox::{Called, Opened, Sandbox},
    words::shown,
};
use crate::{
    digest::Digest,
    error::{Error, Kind, Result, did_you_mean},
    value::{Field, Function, canonical_nan},
    wasm::Limits,
};

/// A compiled, linked and described transform. Made by [`Runtime::load`](super::Runtime::load).
pub struct Transform {
    digest: Digest,
    functions: Vec<Function>,
    pub(super) sandbox: Sandbox,
}

/// What a call gives: as many rows as went in, in the same order.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// One array for each output of the function, of its declared type; every NaN canonical.
    pub columns: Vec<ArrayRef>,
    /// Rows for which the function has no value, ascending. They are null in every column.
    pub errors: Vec<RowError>,
    /// How many WebAssembly instructions it took, where the runtime counts them
    /// ([`Runtime::strict`](super::Runtime::strict)).
    pub instructions: Option<u64>,
    /// How many bytes of memory its instance had in the end; a memory never shrinks.
    pub memory_bytes: u64,
}

/// A row for which a function has no value, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The row, counted from 0 in the batch of the call.
    pub row: u32,
    /// The function's own words, cut at [`Limits::error_text_bytes`]; characters that do not show,
    /// such as the end of a line, are written as `\n` or `\u{1b}`.
    pub message: String,
}

impl std::fmt::Debug for Transform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Transform").field(&self.digest).finish()
    }
}

impl Transform {
    pub(super) fn new(digest: Digest, sandbox: Sandbox) -> Result<Self> {
        let described = sandbox
            .open(sandbox.limits())
            .and_then(|mut opened| describe(&mut opened, sandbox.limits()));
        let functions = described.map_err(|error| match error.kind() {
            Kind::Transform => {
                error.context(format!("the description of {} failed", digest.short()))
            }
            _ => error,
        })?;
        Ok(Self { digest, functions, sandbox })
    }

    /// The digest of the component.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The functions, in the order of the component.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The place of the function of this name in [`functions`](Self::functions).
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound), naming the functions there are.
    pub fn function(&self, name: &str) -> Result<usize> {
        let place = self.functions.iter().position(|function| function.name == name);
        place.ok_or_else(|| {
            let names = self.functions.iter().map(|function| function.name.as_str());
            Error::not_found(format!("no function \"{name}\" in {}", self.digest.short()))
                .with_hint(did_you_mean(name, names))
        })
    }

    /// The limits of its calls.
    pub fn limits(&self) -> &Limits {
        self.sandbox.limits()
    }

    /// Runs a function over `rows` rows in a fresh instance, on this thread; before that, it waits
    /// while [`Limits::concurrent_calls`] others run.
    ///
    /// `params` are arrays of one row and `inputs` arrays of `rows` rows, both in the order and of
    /// the types of the signature. A row that is null in an input that is not nullable is null in
    /// every output.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) for arguments that are not of the signature,
    /// [`Kind::Limit`](crate::error::Kind::Limit) for too many of them, and
    /// [`Kind::Transform`](crate::error::Kind::Transform) when the guest fails or answers
    /// something that is not of its signature.
    pub fn call(
        &self,
        function: usize,
        params: &[ArrayRef],
        inputs: &[ArrayRef],
        rows: usize,
    ) -> Result<Outcome> {
        self.call_within(self.limits(), function, params, inputs, rows)
    }

    /// As [`call`](Self::call), under limits of the caller, which are within
    /// [`limits`](Self::limits).
    ///
    /// # Errors
    /// Those of [`call`](Self::call).
    pub fn call_within(
        &self,
        limits: &Limits,
        function: usize,
        params: &[ArrayRef],
        inputs: &[ArrayRef],
        rows: usize,
    ) -> Result<Outcome> {
        let place = Place { transform: self, limits, opened: None, nan: Nan::Canonical };
        place.call(function, params, inputs, rows)
    }
}

/// Which NaNs a guest is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nan {
    /// The canonical one for every NaN: the rule on every path of a value.
    Canonical,
    /// Those that are there: the publish check, which finds functions that tell them apart.
    Raw,
}

/// Where a call is made.
pub(super) struct Place<'a, 'b> {
    pub(super) transform: &'b Transform,
    pub(super) limits: &'b Limits,
    /// The instance; a fresh one where there is none.
    pub(super) opened: Option<&'b mut Opened<'a>>,
    pub(super) nan: Nan,
}

impl Place<'_, '_> {
    pub(super) fn call(
        self,
        function: usize,
        params: &[ArrayRef],
        inputs: &[ArrayRef],
        rows: usize,
    ) -> Result<Outcome> {
        let Transform { digest, functions, .. } = self.transform;
        let signature = functions.get(function).ok_or_else(|| {
            Error::internal(format!("no function {function} in {}", digest.short()))
        })?;
        let failed = |error: Error| {
            let Function { name, .. } = signature;
            error.context(format!("function \"{name}\" of {} failed", digest.short()))
        };
        let call = Call { signature, limits: self.limits, rows, nan: self.nan };
        call.count().map_err(failed)?;
        let params = call.arguments("param", &signature.params, params, 1).map_err(failed)?;
        let inputs = call.arguments("input", &signature.inputs, inputs, rows).map_err(failed)?;
        let answer = self.apply(function, &call, &params, &inputs).map_err(failed)?;
        call.check_answer(answer, &inputs).map_err(failed)
    }

    /// The crossing itself.
    fn apply(
        self,
        function: usize,
        call: &Call<'_>,
        params: &[ArrayRef],
        inputs: &[ArrayRef],
    ) -> Result<Called<v1::Outcome>> {
        let params = call.lower(&call.signature.params, params);
        let inputs = call.lower(&call.signature.inputs, inputs);
        let size = call.check_size(params.iter().chain(&inputs))?;
        let params: Vec<_> = params.iter().map(Lowered::param).collect();
        let inputs: Vec<_> = inputs.iter().map(Lowered::param).collect();
        let batch = v1::Batch { rows: call.count()?, columns: &inputs };
        let cross = |functions: &Functions<'_>, store: &mut _| {
            functions.apply(store, function as u32, &params, batch)
        };
        let called = match self.opened {
            None => self.transform.sandbox.call(call.limits, size, cross),
            Some(opened) => opened.call(call.limits.output_bytes, cross),
        };
        let Called { answer, instructions, memory_bytes } = called?;
        let answer = answer.map_err(|refusal| {
            let message = shown(&refusal.message, call.limits.error_text_bytes);
            Error::transform(format!("it refused the call: {message}"))
        })?;
        Ok(Called { answer, instructions, memory_bytes })
    }
}

/// One call: what goes in and what may come out.
pub(super) struct Call<'a> {
    pub(super) signature: &'a Function,
    pub(super) limits: &'a Limits,
    pub(super) rows: usize,
    pub(super) nan: Nan,
}

impl Call<'_> {
    /// The arrays as the guest may see them.
    fn arguments(
        &self,
        what: &str,
        fields: &[Field],
        arrays: &[ArrayRef],
        rows: usize,
    ) -> Result<Vec<ArrayRef>> {
        if arrays.len() != fields.len() {
            let (given, wanted) = (arrays.len(), fields.len());
            return Err(Error::invalid(format!("{given} {what} columns instead of {wanted}")));
        }
        let columns = fields.iter().zip(arrays);
        columns.map(|(field, array)| argument(what, field, array, rows, self.nan)).collect()
    }

    fn lower<'a>(&self, fields: &[Field], arrays: &'a [ArrayRef]) -> Vec<Lowered<'a>> {
        let columns = fields.iter().zip(arrays);
        columns.map(|(field, array)| lower(array, field.data_type)).collect()
    }

    /// The number of rows, when it is within the limit.
    fn count(&self) -> Result<u32> {
        let limit = self.limits.rows;
        let count = u32::try_from(self.rows).ok().filter(|count| *count <= limit);
        count.ok_or_else(|| Error::limit("rows of one call", limit.into(), 0, self.rows as u64))
    }

    /// The size of all columns in bytes, when it is within the limit.
    fn check_size<'a>(&self, columns: impl Iterator<Item = &'a Lowered<'a>>) -> Result<u64> {
        let limit = self.limits.input_bytes;
        match columns.map(Lowered::size).sum() {
            size if size > limit => Err(Error::limit("bytes of the inputs", limit, 0, size)),
            size => Ok(size),
        }
    }

    /// The outcome, when the answer is one.
    pub(super) fn check_answer(
        &self,
        called: Called<v1::Outcome>,
        inputs: &[ArrayRef],
    ) -> Result<Outcome> {
        let Called { answer, instructions, memory_bytes } = called;
        let outputs = &self.signature.outputs;
        if answer.columns.len() != outputs.len() {
            let (returned, declared) = (answer.columns.len(), outputs.len());
            return Err(Error::transform(format!(
                "it returned {returned} columns, and declares {declared} outputs"
            )));
        }
        let errors = self.check_errors(answer.errors)?;
        let failed = self.failed_rows(&errors);
        let required =
            self.signature.inputs.iter().zip(inputs).filter(|(field, _)| !field.nullable);
        let mask = union(required.map(|(_, array)| array).chain(&[]), failed.as_ref());
        let excused = union(inputs.iter(), failed.as_ref());
        let column = |(field, column): (&Field, v1::ColumnResult)| {
            let expected =
                Answer { data_type: field.data_type, rows: self.rows, mask: mask.as_ref() };
            lift(column, expected)
                .and_then(|array| check_nulls(field, array, excused.as_ref()))
                .map_err(|error| error.context(format!("output \"{}\"", field.name)))
        };
        let columns = outputs.iter().zip(answer.columns).map(column).collect::<Result<_>>()?;
        Ok(Outcome { columns, errors, instructions, memory_bytes })
    }

    /// Row errors in ascending order, at most one for each row.
    fn check_errors(&self, errors: Vec<v1::RowError>) -> Result<Vec<RowError>> {
        let mut next = 0;
        let mut checked = Vec::with_capacity(errors.len().min(self.rows));
        for v1::RowError { row, message } in errors {
            if row as usize >= self.rows {
                return Err(Error::transform(format!(
                    "it returned an error for row {row}, and there are {} rows",
                    self.rows
                )));
            }
            if row < next {
                return Err(Error::transform(format!(
                    "it returned the error for row {row} after that for row {}",
                    next - 1
                )));
            }
            next = row + 1;
            let message = shown(&message, self.limits.error_text_bytes);
            checked.push(RowError { row, message });
        }
        Ok(checked)
    }

    fn failed_rows(&self, errors: &[RowError]) -> Option<NullBuffer> {
        if errors.is_empty() {
            return None;
        }
        let mut failed = errors.iter().map(|error| error.row as usize).peekable();
        let valid = BooleanBuffer::collect_bool(self.rows, |row| failed.next_if_eq(&row).is_none());
        Some(NullBuffer::new(valid))
    }
}

fn argument(
    what: &str,
    field: &Field,
    array: &ArrayRef,
    rows: usize,
    nan: Nan,
) -> Result<ArrayRef> {
    let Field { name, data_type, .. } = field;
    if *array.data_type() != data_type.to_arrow() {
        let given = array.data_type();
        return Err(Error::invalid(format!("{what} \"{name}\" is {given} instead of {data_type}")));
    }
    if array.len() != rows {
        let given = array.len();
        return Err(Error::invalid(format!(
            "{what} \"{name}\" has {given} rows instead of {rows}"
        )));
    }
    match nan {
        Nan::Canonical => settle(&canonical_nan(array), *data_type),
        Nan::Raw => settle(array, *data_type),
    }
}

/// The rows that are null in any of the arrays, or failed.
fn union<'a>(
    arrays: impl Iterator<Item = &'a ArrayRef>,
    failed: Option<&NullBuffer>,
) -> Option<NullBuffer> {
    NullBuffer::union_many(arrays.map(|array| array.nulls()).chain([failed]))
}

/// An output that is not nullable is null only where an input is, or the row failed.
fn check_nulls(field: &Field, array: ArrayRef, excused: Option<&NullBuffer>) -> Result<ArrayRef> {
    let Some(nulls) = array.nulls().filter(|nulls| !field.nullable && nulls.null_count() > 0)
    else {
        return Ok(array);
    };
    if excused.is_some_and(|excused| excused.contains(nulls)) {
        return Ok(array);
    }
    let excuse = |row| excused.is_some_and(|excused| excused.is_null(row));
    let row = (0..array.len()).find(|row| nulls.is_null(*row) && !excuse(*row)).unwrap_or_default();
    Err(Error::transform(format!(
        "it is null in row {row}, where no input is, and is not declared nullable"
    )))
}
