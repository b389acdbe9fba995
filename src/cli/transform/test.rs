//! `unskew transform test`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::Schema,
};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Context, Verdict};
use crate::{
    definition::{CallLimits, OnError},
    error::{Context as _, Error, Result, did_you_mean},
    evaluate::{Binding, Evaluation},
    value::{Field, Function, Scalar, column_from_json, column_to_json},
    wasm::{self, Transform},
};

/// The name of the file with the cases, in the crate's folder.
const CASES: &str = "cases.toml";

/// Run a crate's tests natively, and its cases on the component: alone, and all together.
#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// The crate's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Leave the native tests out.
    #[arg(long)]
    no_native: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(default)]
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    function: String,
    #[serde(default)]
    inputs: BTreeMap<String, Value>,
    #[serde(default)]
    params: BTreeMap<String, Value>,
    #[serde(default)]
    outputs: BTreeMap<String, Value>,
    #[serde(default)]
    error: Option<String>,
}

/// What a case gave: the values of its outputs, or the message of a row error.
type Given = Result<BTreeMap<String, Value>, String>;

impl Test {
    pub(super) fn run(self, context: &Context) -> Result<Verdict> {
        if !self.no_native && !native(&self.folder)? {
            return Err(Error::invalid(format!(
                "the native tests of {} fail",
                self.folder.display()
            )));
        }
        let built = wasm::build(&self.folder)?;
        let transform = super::runtime(context)?.load(&built.component)?;
        let cases = read(&self.folder.join(CASES))?;
        let mut failures = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let outcome = || format!("{CASES}, case {} of {}", number + 1, case.function);
            let neighbours = cases.iter().filter(|other| case.may_share_a_call(other));
            let neighbours: Vec<&Case> = neighbours.collect();
            if let Some(failure) = case.check(&transform, &neighbours).context(outcome)? {
                failures.push(format!("{}: {failure}", outcome()));
            }
        }
        let passed = cases.len() - failures.len();
        let mut text = format!(
            "{} on {}: {passed} cases passed, {} failed",
            built.name,
            transform.digest().short(),
            failures.len()
        );
        failures.iter().for_each(|failure| text.push_str(&format!("\n{failure}")));
        let data = json!({"name": built.name, "digest": transform.digest(), "passed": passed, "failures": failures});
        context.output.result(text, &data)?;
        Ok(if failures.is_empty() { Verdict::Yes } else { Verdict::No })
    }
}

/// Runs `cargo test` in the crate, on this terminal.
fn native(folder: &Path) -> Result<bool> {
    let mut cargo = process::Command::new("cargo");
    cargo.arg("test").current_dir(folder).stdout(std::io::stderr());
    Ok(cargo.status().context(|| "cargo cannot be run")?.success())
}

fn read(path: &Path) -> Result<Vec<Case>> {
    let shown = || path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => {
            let cases: Result<Cases> = toml::from_str(&text)
                .map_err(|error| Error::invalid(error.to_string().trim_end().to_owned()));
            Ok(cases.context(shown)?.case)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::from(error).context(shown())),
    }
}

impl Case {
    fn may_share_a_call(&self, other: &Self) -> bool {
        self.function == other.function && self.params == other.params
    }

    /// `None` if the component gives what the case says; what it gives instead otherwise.
    ///
    /// The row is run alone and behind those of its neighbours, since they must not matter.
    fn check(&self, transform: &Arc<Transform>, neighbours: &[&Self]) -> Result<Option<String>> {
        let signature = &transform.functions()[transform.function(&self.function)?];
        let evaluation = self.bind(transform, signature)?;
        let expected = self.expected(signature)?;
        for before in [&[], neighbours] {
            let rows: Vec<_> =
                before.iter().copied().chain([self]).map(|case| &case.inputs).collect();
            let given = give(&evaluation, signature, &rows)?;
            if given != expected {
                return Ok(Some(format!("expected {}, got {}", show(&expected), show(&given))));
            }
        }
        Ok(None)
    }

    fn bind(&self, transform: &Arc<Transform>, signature: &Function) -> Result<Evaluation> {
        known("param", &self.params, &signature.params)?;
        known("input", &self.inputs, &signature.inputs)?;
        let mut params = BTreeMap::new();
        for field in &signature.params {
            if let Some(value) = self.params.get(&field.name) {
                let scalar = Scalar::from_json(value, field.data_type)
                    .context(|| format!("param {}", field.name))?;
                params.insert(field.name.clone(), scalar);
            }
        }
        let same = |field: &Field| (field.name.clone(), field.name.clone());
        let binding = Binding {
            function: self.function.clone(),
            params,
            inputs: signature.inputs.iter().map(same).collect(),
            outputs: signature.outputs.iter().map(same).collect(),
            on_error: OnError::Null,
            limits: CallLimits::default(),
        };
        Evaluation::new(Arc::clone(transform), &binding)
    }

    /// The values as they are written, so that `1` and `1.0` are one number.
    fn expected(&self, signature: &Function) -> Result<Given> {
        known("output", &self.outputs, &signature.outputs)?;
        if let Some(message) = &self.error {
            return Ok(Err(message.clone()));
        }
        let columns = columns(&[&self.outputs], &signature.outputs)?;
        Ok(Ok(last(&signature.outputs, &columns)))
    }
}

/// What the function gives for the last of some rows.
fn give(
    evaluation: &Evaluation,
    signature: &Function,
    rows: &[&BTreeMap<String, Value>],
) -> Result<Given> {
    let columns = columns(rows, &signature.inputs)?;
    let schema = Schema::new(signature.inputs.iter().map(Field::to_arrow).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(schema.into(), columns, &options)
        .map_err(|error| Error::internal(format!("a case is uneven: {error}")))?;
    let evaluated = evaluation.run(&batch)?;
    match evaluated.errors.into_iter().find(|error| error.row as usize + 1 == rows.len()) {
        Some(error) => Ok(Err(error.message)),
        None => Ok(Ok(last(&signature.outputs, &evaluated.columns))),
    }
}

fn known(what: &str, given: &BTreeMap<String, Value>, fields: &[Field]) -> Result<()> {
    let names = || fields.iter().map(|field| field.name.as_str());
    match given.keys().find(|name| !names().any(|known| known == name.as_str())) {
        Some(name) => {
            Err(Error::invalid(format!("no {what} \"{name}\""))
                .with_hint(did_you_mean(name, names())))
        }
        None => Ok(()),
    }
}

fn columns(rows: &[&BTreeMap<String, Value>], fields: &[Field]) -> Result<Vec<ArrayRef>> {
    let column = |field: &Field| {
        let value =
            |row: &&BTreeMap<String, Value>| row.get(&field.name).cloned().unwrap_or_default();
        let values: Vec<Value> = rows.iter().map(value).collect();
        column_from_json(&values, field.data_type).context(|| field.name.clone())
    };
    fields.iter().map(column).collect()
}

/// The values of the last row, by field; nulls are left out.
fn last(fields: &[Field], columns: &[ArrayRef]) -> BTreeMap<String, Value> {
    let value = |column: &ArrayRef| {
        column_to_json(&column.slice(column.len() - 1, 1)).pop().unwrap_or_default()
    };
    let named =
        fields.iter().zip(columns).map(|(field, column)| (field.name.clone(), value(column)));
    named.filter(|(_, value)| !value.is_null()).collect()
}

fn show(given: &Given) -> String {
    match given {
        Ok(values) => json!(values).to_string(),
        Err(message) => format!("the error {message:?}"),
    }
}
