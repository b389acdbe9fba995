//! Golden cases: read beside a crate, run on the real component.
//!
//! `cases.toml` holds cases one by one. `cases/<function>.parquet` holds many of one function, a
//! row each, in the columns `input.<name>`, `param.<name>`, `output.<name>` and, where some rows
//! are to be errors, `error`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
};

use serde::Deserialize;
use serde_json::Value;

use super::{
    counterexample::shown,
    purity::Sample,
    subject::{Given, arrays, given},
};
use crate::{
    error::{Context as _, Error, Kind, Result, did_you_mean},
    registry::Case,
    value::{
        Cell, DataType, Field, Function, Row, column_from_json, column_to_json, conform,
        parquet_reader,
    },
    wasm::{Nan, Stop, Transform},
};

/// The file with cases, and the folder with files of them, in a crate's folder.
const FILE: &str = "cases.toml";
const FOLDER: &str = "cases";

/// Cases of a transform.
const MOST: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default)]
    case: Vec<Case>,
}

/// The cases in a crate's folder, in the order in which they are written.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid) for a file that is not of this form;
/// [`Kind::Limit`](crate::error::Kind::Limit) for more than 10,000 cases.
pub fn read_cases(folder: &Path) -> Result<Vec<Case>> {
    let mut cases = read_toml(&folder.join(FILE))?;
    let mut files = Vec::new();
    if let Ok(entries) = fs::read_dir(folder.join(FOLDER)) {
        for entry in entries {
            files.push(entry.context(|| folder.join(FOLDER).display().to_string())?.path());
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    for path in files {
        read_parquet(&path, &mut cases).context(|| path.display().to_string())?;
    }
    check_count(cases.len())?;
    Ok(cases)
}

fn check_count(count: usize) -> Result<()> {
    match count {
        more if more > MOST => {
            Err(Error::limit("cases of a transform", MOST as u64, 0, more as u64))
        }
        _ => Ok(()),
    }
}

fn read_toml(path: &Path) -> Result<Vec<Case>> {
    let shown = || path.display().to_string();
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.context(shown)?,
    };
    let cases: Result<Cases> = toml::from_str(&text)
        .map_err(|error| Error::invalid(error.to_string().trim_end().to_owned()));
    let mut cases = cases.context(shown)?.case;
    for (number, case) in cases.iter_mut().enumerate() {
        case.origin = format!("{FILE}, case {} of {}", number + 1, case.function);
    }
    Ok(cases)
}

fn read_parquet(path: &Path, cases: &mut Vec<Case>) -> Result<()> {
    let wrong = |error: &dyn std::fmt::Display| Error::invalid(error.to_string());
    let function = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let reader = parquet_reader(File::open(path)?).map_err(|error| wrong(&error))?;
    check_count(
        usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX),
    )?;
    let start = cases.len();
    for batch in reader.build().map_err(|error| wrong(&error))? {
        let batch = batch.map_err(|error| wrong(&error))?;
        let first = cases.len();
        cases.extend((0..batch.num_rows()).map(|row| Case {
            origin: format!("{FOLDER}/{function}.parquet, row {}", first - start + row),
            function: function.clone(),
            inputs: BTreeMap::new(),
            params: BTreeMap::new(),
            outputs: BTreeMap::new(),
            error: None,
        }));
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if *column.data_type() == arrow::datatypes::DataType::Null {
                continue;
            }
            let data_type = DataType::of_arrow(column.data_type()).ok_or_else(|| {
                Error::invalid(format!("column \"{}\" is {}", field.name(), column.data_type()))
            })?;
            let values = column_to_json(&conform(column, data_type)?);
            for (case, value) in cases[first..].iter_mut().zip(values) {
                place(case, field.name(), value)?;
            }
        }
    }
    Ok(())
}

/// Puts a value of a column into the case of its row.
fn place(case: &mut Case, column: &str, value: Value) -> Result<()> {
    let parts = match column.split_once('.') {
        Some(("input", name)) => (&mut case.inputs, name),
        Some(("param", name)) => (&mut case.params, name),
        Some(("output", name)) => (&mut case.outputs, name),
        _ if column == "error" => {
            case.error = value.as_str().map(str::to_owned);
            return Ok(());
        }
        _ => {
            return Err(Error::invalid(format!("column \"{column}\" is of no part of a case"))
                .with_hint("name columns input.<name>, param.<name>, output.<name>, or error"));
        }
    };
    if !value.is_null() {
        parts.0.insert(parts.1.to_owned(), value);
    }
    Ok(())
}

/// A case that fits its function.
struct Fitted<'a> {
    case: &'a Case,
    function: usize,
    params: Row,
    row: Row,
    expected: Given,
}

impl<'a> Fitted<'a> {
    fn new(case: &'a Case, transform: &Transform) -> Result<Self> {
        let function = transform.function(&case.function)?;
        let signature = &transform.functions()[function];
        if let Some(missing) =
            signature.params.iter().find(|field| !case.params.contains_key(&field.name))
        {
            return Err(Error::invalid(format!("nothing is given for param \"{}\"", missing.name)));
        }
        let expected = match &case.error {
            Some(message) => Given::Error(message.clone()),
            None => Given::Values(row("output", &signature.outputs, &case.outputs)?),
        };
        Ok(Self {
            case,
            function,
            params: row("param", &signature.params, &case.params)?,
            row: row("input", &signature.inputs, &case.inputs)?,
            expected,
        })
    }

    fn shares_a_call(&self, other: &Self) -> bool {
        self.function == other.function && self.params == other.params
    }
}

fn row(what: &str, fields: &[Field], given: &BTreeMap<String, Value>) -> Result<Row> {
    let names = || fields.iter().map(|field| field.name.as_str());
    if let Some(unknown) = given.keys().find(|name| !names().any(|known| known == name.as_str())) {
        return Err(Error::invalid(format!("no {what} \"{unknown}\""))
            .with_hint(did_you_mean(unknown, names())));
    }
    let cell = |field: &Field| {
        let value = given.get(&field.name).cloned().unwrap_or_default();
        let column = column_from_json(&[value], field.data_type);
        let column = column.context(|| format!("{what} {}", field.name))?;
        Ok(Cell::of(&column, 0, field.data_type))
    };
    fields.iter().map(cell).collect()
}

/// The cases that the component does not give, each with what it gives instead; among them those
/// that do not fit its functions.
///
/// Each row is run alone, and all that can be in one call are run together as well: in as few calls
/// as there is room and time for them.
pub fn failing_cases(cases: &[Case], transform: &Transform) -> Vec<(String, Error)> {
    let mut failures = Vec::new();
    let mut fitted = Vec::new();
    for case in cases {
        match Fitted::new(case, transform) {
            Ok(fits) => fitted.push(fits),
            Err(error) => failures.push((case.origin.clone(), error)),
        }
    }
    for fits in &fitted {
        if let Some(error) = run(transform, &[fits]).into_iter().flatten().next() {
            failures.push((fits.case.origin.clone(), error));
        }
    }
    if failures.is_empty() {
        for group in groups(&fitted) {
            let together = group.iter().zip(run(transform, &group));
            failures.extend(together.filter_map(|(fits, error)| {
                let error = error?.context("among the other cases, though not alone");
                Some((fits.case.origin.clone(), error))
            }));
        }
    }
    failures
}

/// Cases that can be rows of one call, if it has room for so many.
fn groups<'a, 'b>(fitted: &'b [Fitted<'a>]) -> Vec<Vec<&'b Fitted<'a>>> {
    let mut groups: Vec<Vec<&Fitted<'a>>> = Vec::new();
    for fits in fitted {
        match groups.iter_mut().find(|group| group[0].shares_a_call(fits)) {
            Some(group) => group.push(fits),
            None => groups.push(vec![fits]),
        }
    }
    groups
}

/// Runs cases in one call, or where they are too many for it, each half of them: for each what is
/// wrong, if anything is.
fn run(transform: &Transform, cases: &[&Fitted<'_>]) -> Vec<Option<Error>> {
    let Some(first) = cases.first() else { return Vec::new() };
    let outputs = &transform.functions()[first.function].outputs;
    let compare = |(fits, given): (&&Fitted<'_>, Given)| {
        (given != fits.expected).then(|| {
            let (expected, got) = (shown(outputs, &fits.expected), shown(outputs, &given));
            Error::invalid(format!("expected {expected}, got {got}"))
        })
    };
    match call(transform, first, cases) {
        Err(error) => vec![Some(error); cases.len()],
        Ok(Some(given)) => cases.iter().zip(given).map(compare).collect(),
        Ok(None) => {
            let (before, behind) = cases.split_at(cases.len() / 2);
            let mut wrong = run(transform, before);
            // One that fails is enough to know: each may take as long as a call may.
            match wrong.iter().all(Option::is_none) {
                true => wrong.extend(run(transform, behind)),
                false => wrong.resize(cases.len(), None),
            }
            wrong
        }
    }
}

/// What cases give in one call; nothing where several are more than it has room or time for.
fn call(
    transform: &Transform,
    first: &Fitted<'_>,
    cases: &[&Fitted<'_>],
) -> Result<Option<Vec<Given>>> {
    let signature: &Function = &transform.functions()[first.function];
    let rows: Vec<&Row> = cases.iter().map(|fits| &fits.row).collect();
    let (params, inputs) = arrays(signature, &first.params, &rows);
    let mut trial = transform.trial(Nan::Canonical)?;
    match trial.call(first.function, &params, &inputs, rows.len()) {
        Ok(outcome) => Ok(Some(given(&outcome, &signature.outputs, rows.len()))),
        Err(error) => {
            let is_too_much = match trial.stopped() {
                Some(Stop::Full) => rows.len() > 1,
                // Two that do not end together are no matter of how much they are.
                Some(Stop::Endless) => rows.len() > 2,
                _ => error.kind() == Kind::Limit && rows.len() > 1,
            };
            if is_too_much { Ok(None) } else { Err(error) }
        }
    }
}

/// The rows of cases for a function, by params: the purity test begins with them.
pub(super) fn samples(cases: &[Case], transform: &Transform, function: usize) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    let fitted = cases.iter().filter_map(|case| Fitted::new(case, transform).ok());
    for fits in fitted.filter(|fits| fits.function == function) {
        match samples.iter_mut().find(|sample| sample.params == fits.params) {
            Some(sample) => sample.rows.push(fits.row),
            None => samples.push(Sample { params: fits.params, rows: vec![fits.row] }),
        }
    }
    samples
}
