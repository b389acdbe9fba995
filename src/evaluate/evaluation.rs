//! A function at work on batches.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array},
    compute::concat,
    datatypes::Schema,
};

use super::binding::{Binding, bind_inputs, bind_outputs, bind_params};
use crate::{
    definition::{CallLimits, OnError},
    digest::Digest,
    error::{Error, Kind, Result, did_you_mean},
    time::Span,
    value::{DataType, Field, Function, conform},
    wasm::{Limits, Outcome, RowError, Transform},
};

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
    limits: Limits,
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
            error.context(format!("cannot use function \"{}\" of {digest}", binding.function))
        };
        let params = bind_params(signature, &binding.params).map_err(misfit)?;
        let inputs = bind_inputs(signature, &binding.inputs).map_err(misfit)?;
        let (outputs, fields) = bind_outputs(signature, &binding.outputs).map_err(misfit)?;
        let on_error = binding.on_error;
        let limits = transform.limits().tightened(&binding.limits);
        Ok(Self { transform, function, params, inputs, outputs, fields, on_error, limits })
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
        let columns = self.inputs().map(|(name, _)| self.column(batch, name));
        self.run_on(&columns.collect::<Result<Vec<_>>>()?, batch.num_rows(), None)
    }

    /// As [`run`](Self::run), on the columns of [`inputs`](Self::inputs), each of so many rows; no
    /// call longer than `moment`, where that is less than its deadline.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub(super) fn run_on(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        moment: Option<Span>,
    ) -> Result<Evaluated> {
        let shorter = CallLimits { deadline: moment, ..CallLimits::default() };
        let limits = self.limits.tightened(&shorter);
        let inputs = self.inputs().zip(columns).map(|((name, data_type), column)| {
            let column = conform(column, data_type);
            column.map_err(|error| error.context(format!("column \"{name}\"")))
        });
        let inputs: Vec<ArrayRef> = inputs.collect::<Result<_>>()?;
        let rows = u32::try_from(rows);
        let rows = rows.map_err(|_| Error::invalid("a batch has less than 2^32 rows"))?;
        let mut pieces = Vec::new();
        if rows > 0 {
            self.call(&limits, &inputs, 0..rows, &mut pieces)?;
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
        if let Some(taken) =
            self.fields.iter().find(|field| schema.column_with_name(&field.name).is_some())
        {
            return Err(Error::invalid(format!("two columns of the name \"{}\"", taken.name)));
        }
        let Evaluated { columns, errors } = self.run(batch)?;
        let added = self.fields.iter().map(|field| Arc::new(field.to_arrow()));
        let fields = schema.fields().iter().cloned().chain(added).collect::<Vec<_>>();
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

    /// Calls the function on these rows, which the inputs have; on each half of them where they are
    /// over a limit.
    fn call(
        &self,
        limits: &Limits,
        inputs: &[ArrayRef],
        rows: Range<u32>,
        pieces: &mut Vec<Outcome>,
    ) -> Result<()> {
        let count = rows.len();
        match self.transform.call_within(limits, self.function, &self.params, inputs, count) {
            Err(error) if error.kind() == Kind::Limit && count > 1 => {
                let half = |start, count| {
                    let half = inputs.iter().map(|input| input.slice(start, count));
                    half.collect::<Vec<_>>()
                };
                let middle = rows.start.midpoint(rows.end);
                let before = (middle - rows.start) as usize;
                self.call(limits, &half(0, before), rows.start..middle, pieces)?;
                self.call(limits, &half(before, count - before), middle..rows.end, pieces)
            }
            Err(error) => Err(error),
            Ok(mut outcome) => {
                for error in &mut outcome.errors {
                    error.row += rows.start;
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
            .with_hint(
                "with on_error = \"null\", or without --fail-on-row-error, rows that fail are null and counted",
            )),
            _ => Ok(()),
        }
    }

    /// The wanted columns of all pieces, one behind the other.
    fn join(&self, pieces: Vec<Outcome>) -> Result<Evaluated> {
        let column = |(output, field): (&usize, &Field)| {
            let parts: Vec<&dyn Array> =
                pieces.iter().map(|piece| &*piece.columns[*output]).collect();
            match parts.as_slice() {
                [] => Ok(new_empty_array(&field.data_type.to_arrow())),
                [_] => Ok(Arc::clone(&pieces[0].columns[*output])),
                parts => concat(parts)
                    .map_err(|error| Error::internal(format!("cannot join columns: {error}"))),
            }
        };
        let columns = self.outputs.iter().zip(&self.fields).map(column).collect::<Result<_>>()?;
        let errors = pieces.into_iter().flat_map(|piece| piece.errors).collect();
        Ok(Evaluated { columns, errors })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::{
        value::Scalar,
        wasm::{
            Runtime,
            testing::{Guest, answer_int64, field, function},
        },
    };

    fn load(guest: &Guest, rows: u32) -> Arc<Transform> {
        let limits = Limits { rows, input_bytes: 1_000, ..Limits::default() };
        let bytes = guest.component();
        Runtime::new(limits, None).unwrap().load(&bytes).unwrap()
    }

    /// `f(a: int64?, b: utf8?) -> (one: int64?, two: utf8?)`, which gives back its inputs.
    fn echo() -> Guest {
        let fields =
            |one, two| [field(one, DataType::Int64, true), field(two, DataType::Utf8, true)];
        Guest::echo(&[function("f", &fields("a", "b"), &fields("one", "two"))])
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> impl Iterator<Item = (String, String)> {
        pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).into_iter()
    }

    fn binding() -> Binding {
        Binding {
            function: "f".to_owned(),
            params: BTreeMap::new(),
            inputs: pairs([("a", "amount"), ("b", "name")]).collect(),
            outputs: pairs([("one", "amount_out")]).collect(),
            on_error: OnError::Null,
            limits: CallLimits::default(),
        }
    }

    fn ints(values: Vec<Option<i64>>) -> ArrayRef {
        Arc::new(Int64Array::from(values))
    }

    fn batch(rows: usize) -> RecordBatch {
        let names = (0..rows).map(|row| (row % 3 > 0).then(|| "x".repeat(row)));
        let names: ArrayRef = Arc::new(StringArray::from_iter(names));
        let amounts = ints((0..rows as i64).map(|row| (row % 2 > 0).then_some(row)).collect());
        RecordBatch::try_from_iter_with_nullable([("name", names, true), ("amount", amounts, true)])
            .unwrap()
    }

    #[test]
    fn a_binding_has_to_fit_the_signature() {
        let with_param = |guest: &[Function]| {
            let mut functions = guest.to_vec();
            functions[0].params = vec![field("mean", DataType::Float64, false)];
            load(&Guest::echo(&functions), 10)
        };
        let x = [field("a", DataType::Int64, true), field("b", DataType::Utf8, true)];
        let transform = with_param(&[function("f", &x, &x)]);
        let digest = transform.digest().short();
        let fitting = Binding {
            params: [(
                "mean".to_owned(),
                Scalar::from_json(&json!(1.5), DataType::Float64).unwrap(),
            )]
            .into(),
            outputs: pairs([("a", "amount_out")]).collect(),
            ..binding()
        };
        Evaluation::new(Arc::clone(&transform), &fitting).unwrap();
        let check = |change: &dyn Fn(&mut Binding), expected: &str| {
            let mut binding = fitting.clone();
            change(&mut binding);
            let error = Evaluation::new(Arc::clone(&transform), &binding).unwrap_err().to_string();
            assert_eq!(error, format!("cannot use function \"f\" of {digest}: {expected}"));
        };
        check(&|b| b.params.clear(), "nothing is given for param \"mean\"");
        check(
            &|b| drop(b.params.insert("means".into(), b.params["mean"].clone())),
            "no param \"means\"\nhint: did you mean \"mean\"?",
        );
        let three = Scalar::from_json(&json!(3), DataType::Int64).unwrap();
        check(
            &|b| drop(b.params.insert("mean".into(), three.clone())),
            "param \"mean\" is int64 instead of float64",
        );
        check(&|b| drop(b.inputs.remove("b")), "nothing is given for input \"b\"");
        check(
            &|b| drop(b.inputs.insert("c".into(), "name".into())),
            "no input \"c\"\nhint: there are: a, b",
        );
        check(
            &|b| b.outputs = pairs([("c", "x")]).collect(),
            "no output \"c\"\nhint: there are: a, b",
        );
        check(
            &|b| b.outputs = pairs([("a", "x"), ("b", "x")]).collect(),
            "two columns of the name \"x\"",
        );
    }

    #[test]
    fn an_unknown_function_is_not_found() {
        let binding = Binding { function: "g".to_owned(), ..binding() };
        let error = Evaluation::new(load(&echo(), 10), &binding).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
    }

    #[test]
    fn columns_are_found_by_name_and_given_as_wanted() {
        let outputs = pairs([("two", "n"), ("one", "a"), ("two", "again")]).collect();
        let evaluation =
            Evaluation::new(load(&echo(), 100), &Binding { outputs, ..binding() }).unwrap();
        let names: Vec<_> = evaluation.fields().iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["n", "a", "again"]);
        let inputs: Vec<_> = evaluation.inputs().collect();
        assert_eq!(inputs, [("amount", DataType::Int64), ("name", DataType::Utf8)]);
        let batch = batch(7);
        let evaluated = evaluation.run(&batch).unwrap();
        let (name, amount) = (batch.column(0), batch.column(1));
        assert_eq!(evaluated.columns, [name, amount, name].map(Arc::clone));
    }

    #[test]
    fn a_batch_without_the_columns_is_refused() {
        let evaluation = Evaluation::new(load(&echo(), 100), &binding()).unwrap();
        let names: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let batch =
            |amount| RecordBatch::try_from_iter([("name", Arc::clone(&names)), amount]).unwrap();
        let error = evaluation.run(&batch(("amounts", ints(vec![None])))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "function \"f\" needs column \"amount\", and the batch has none\n\
             hint: did you mean \"amounts\"?"
        );
        let error = evaluation.run(&batch(("amount", Arc::clone(&names)))).unwrap_err();
        assert_eq!(error.to_string(), "column \"amount\": type utf8 cannot be read as int64");
    }

    #[test]
    fn how_rows_are_cut_into_calls_changes_nothing() {
        let outputs: Vec<_> = pairs([("one", "a"), ("two", "n")]).collect();
        let binding = Binding { outputs, ..binding() };
        // 60 rows are 1,770 bytes of text, over the limit of 1,000.
        for (limit, rows) in [(1, 5), (3, 10), (100, 0), (100, 1), (100, 60), (7, 60)] {
            let evaluation = Evaluation::new(load(&echo(), limit), &binding).unwrap();
            let batch = batch(rows);
            let evaluated = evaluation.run(&batch).unwrap();
            let expected = [batch.column(1), batch.column(0)].map(Arc::clone);
            assert_eq!(evaluated.columns, expected, "{rows} rows, {limit} in a call");
        }
    }

    #[test]
    fn a_row_over_the_limits_is_refused() {
        let evaluation = Evaluation::new(load(&echo(), 10), &binding()).unwrap();
        let long: ArrayRef = Arc::new(StringArray::from(vec!["x", &"x".repeat(1_000)]));
        let amount = ints(vec![None, None]);
        let batch = RecordBatch::try_from_iter([("name", long), ("amount", amount)]).unwrap();
        let error = evaluation.run(&batch).unwrap_err();
        assert_eq!(error.kind(), Kind::Limit);
    }

    /// Whatever it is called with: three rows, the second of which fails.
    fn failing() -> Guest {
        let signature = function(
            "f",
            &[field("a", DataType::Int64, true)],
            &[field("one", DataType::Int64, true)],
        );
        answer_int64(&signature, &[7, 8, 9], &[(1, "no eight")])
    }

    #[test]
    fn a_binding_may_have_tighter_limits() {
        let endless = Guest::new(
            &[function("f", &[], &[field("one", DataType::Int64, true)])],
            "(loop $again (br $again)) (i32.const 0)",
        );
        let limits = CallLimits { deadline: Some(Span(20_000)), ..CallLimits::default() };
        let binding = Binding { inputs: BTreeMap::new(), limits, ..binding() };
        let error =
            Evaluation::new(load(&endless, 10), &binding).unwrap().run(&batch(1)).unwrap_err();
        assert!(error.message().ends_with("within its deadline of 20ms"), "{error}");
        // Looser ones than those of the runtime are those of the runtime: batches are cut.
        let limits = CallLimits { rows: Some(1_000), ..CallLimits::default() };
        let evaluation =
            Evaluation::new(load(&echo(), 3), &Binding { limits, ..self::binding() }).unwrap();
        assert_eq!(evaluation.limits.rows, 3);
        assert_eq!(evaluation.run(&batch(10)).unwrap().columns[0].len(), 10);
    }

    fn failing_binding(on_error: OnError) -> Binding {
        let inputs = pairs([("a", "amount")]).collect();
        Binding { inputs, on_error, ..binding() }
    }

    #[test]
    fn rows_that_fail_are_null_and_counted_over_all_calls() {
        let binding = failing_binding(OnError::Null);
        let evaluation = Evaluation::new(load(&failing(), 3), &binding).unwrap();
        let (with, errors) = evaluation.append(&batch(6)).unwrap();
        let error = |row| RowError { row, message: "no eight".to_owned() };
        assert_eq!(errors, [error(1), error(4)]);
        let expected = ints(vec![Some(7), None, Some(9), Some(7), None, Some(9)]);
        assert_eq!(with.column_by_name("amount_out"), Some(&expected));
    }

    #[test]
    fn a_row_that_fails_fails_all_where_the_binding_says_so() {
        let transform = load(&failing(), 3);
        let digest = transform.digest().short();
        let evaluation = Evaluation::new(transform, &failing_binding(OnError::Fail)).unwrap();
        let error = evaluation.run(&batch(6)).unwrap_err();
        assert_eq!(error.kind(), Kind::Transform);
        assert_eq!(
            error.to_string(),
            format!(
                "function \"f\" of {digest} failed in row 1: no eight\n\
                 hint: with on_error = \"null\", or without --fail-on-row-error, rows that fail are \
                 null and counted"
            )
        );
    }

    #[test]
    fn an_empty_batch_runs_no_guest() {
        let x = [field("a", DataType::Int64, true)];
        let panics = Guest::new(&[function("f", &x, &x)], "unreachable");
        let outputs = pairs([("a", "x")]).collect();
        let binding = Binding { outputs, ..failing_binding(OnError::Fail) };
        let evaluation = Evaluation::new(load(&panics, 10), &binding).unwrap();
        let evaluated = evaluation.run(&batch(0)).unwrap();
        assert_eq!(evaluated.columns, [ints(vec![])]);
        assert!(evaluation.run(&batch(1)).is_err());
    }

    #[test]
    fn a_function_without_inputs_has_the_rows_of_the_batch() {
        let constant = function("f", &[], &[field("one", DataType::Int64, false)]);
        let transform = load(&answer_int64(&constant, &[5, 5], &[]), 10);
        let binding = Binding { inputs: BTreeMap::new(), ..binding() };
        let evaluation = Evaluation::new(transform, &binding).unwrap();
        let (with, _) = evaluation.append(&batch(2)).unwrap();
        assert_eq!(with.column_by_name("amount_out"), Some(&ints(vec![Some(5), Some(5)])));
    }

    #[test]
    fn appended_columns_stand_behind_and_have_new_names() {
        let evaluation = Evaluation::new(load(&echo(), 10), &binding()).unwrap();
        let (with, errors) = evaluation.append(&batch(4)).unwrap();
        let schema = with.schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["name", "amount", "amount_out"]);
        assert_eq!(with.column(2), with.column(1));
        assert_eq!(errors, []);
        let error = evaluation.append(&with).unwrap_err();
        assert_eq!(error.to_string(), "two columns of the name \"amount_out\"");
    }
}
