//! `unskew transform run`.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{Context, Verdict, find, runtime};
use crate::{
    cli::{output::progress, resources::ResourceArguments},
    definition::{CallLimits, OnError, fingerprint::RuntimeRef},
    error::{Context as _, Error, Result},
    evaluate::Binding,
    offline::{self, Places, Ran, RunRequest},
    value::{Field, Function, Scalar},
};

/// Run Parquet files through a function, into a file or a folder of parts: their columns, and the
/// outputs behind them.
///
/// The output is a folder, with a part for each file of the input, where it is a folder already, or
/// where the input is no single file and the output's name does not end in .parquet. The same command
/// again keeps the parts that are complete, and makes those that are missing or whose files changed.
#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// The function: team/name@version#function, or a crate's folder or a component's file with
    /// #function behind it.
    function: String,
    /// The Parquet files to read: a file, a folder, a pattern or a Delta table, by path or URL.
    #[arg(long, value_name = "PATH")]
    input: String,
    /// The file or folder to write; a file that is there is replaced when the new one is complete.
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Only the first so many rows.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// A constant for a param of the function: name=value.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// The column for an input of the function, where its name is another: input=column.
    #[arg(long = "column", value_name = "INPUT=COLUMN")]
    columns: Vec<String>,
    /// Fail at the first row for which the function has no value, instead of giving null.
    #[arg(long)]
    fail_on_row_error: bool,
    #[command(flatten)]
    pub(in crate::cli) resources: ResourceArguments,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let Some((transform, function)) = self.function.rsplit_once('#') else {
            return Err(Error::invalid(format!("not a function: {:?}", self.function)).with_hint(
                "name one as team/name@version#function; unskew transform inspect lists them",
            ));
        };
        let found = find(context, transform).await?;
        let runtime = runtime(context)?;
        let transform = runtime.load(&found.bytes)?;
        let digest = transform.digest();
        let binding = self.bind(&transform.functions()[transform.function(function)?])?;
        let profile = runtime.profile();
        let profile = RuntimeRef { name: profile.name.clone(), digest: profile.digest };
        let request = RunRequest {
            function: offline::Function { transform, binding, runtime: profile },
            input: self.input.clone(),
            output: self.output.clone(),
            limit: self.limit,
        };
        let resources = self.resources.resources();
        let run = offline::Run::find(request, places(context)?, &resources).await?;
        let bar = context.output.bar(function);
        bar.set_length(run.rows());
        bar.set_prefix(match run.files() {
            1 => "1 file".to_owned(),
            files => format!("{files} files"),
        });
        let ran = run.write(progress(&bar)).await;
        bar.finish_and_clear();
        let ran = ran?;
        let mut data = json!({
            "rows": ran.rows, "digest": digest, "content_hash": ran.hash, "row_errors": ran.row_errors,
        });
        match ran.parts {
            Some((made, kept)) => {
                data["folder"] = json!(self.output);
                data["parts"] = json!({"made": made, "kept": kept});
            }
            None => data["file"] = json!(self.output),
        }
        context.output.result(self.text(&ran, &digest.short()), &data)?;
        Ok(Verdict::Yes)
    }

    fn text(&self, ran: &Ran, digest: &str) -> String {
        let parts = ran.parts.map_or_else(String::new, |(made, kept)| match kept {
            0 => format!(" in {made} parts"),
            kept => format!(" in {} parts, {kept} of them kept", made + kept),
        });
        let mut text = format!(
            "{}: {} rows{parts} through {} ({digest})",
            self.output.display(),
            ran.rows,
            self.function,
        );
        if ran.row_errors.count > 0 {
            text.push_str(&format!(
                "\n{} rows null because the function refused them, e.g. {}",
                ran.row_errors.count, ran.row_errors.example
            ));
        }
        text
    }

    fn bind(&self, signature: &Function) -> Result<Binding> {
        let params = given_params(&self.params, signature)?;
        refuse_missing(&params, signature)?;
        let mut inputs: BTreeMap<String, String> =
            signature.inputs.iter().map(|field| (field.name.clone(), field.name.clone())).collect();
        inputs.extend(pairs(&self.columns)?);
        let same = |name: &String| (name.clone(), name.clone());
        Ok(Binding {
            function: signature.name.clone(),
            params,
            inputs,
            outputs: signature.outputs.iter().map(|field| same(&field.name)).collect(),
            limits: CallLimits::default(),
            on_error: if self.fail_on_row_error { OnError::Fail } else { OnError::Null },
        })
    }
}

/// Where files are looked for: from here, with the project's object stores where there is a project.
fn places(context: &Context) -> Result<Places> {
    let storage = context.app().map(|app| app.storage.clone()).unwrap_or_default();
    Ok(Places { folder: std::env::current_dir()?, storage, ..Places::default() })
}

/// The constants that are given for params of a function: `name=value`.
pub(super) fn given_params(
    given: &[String],
    signature: &Function,
) -> Result<BTreeMap<String, Scalar>> {
    let mut params = BTreeMap::new();
    for (name, value) in pairs(given)? {
        let Some(field) = signature.params.iter().find(|field| field.name == name) else {
            let known = signature.params.iter().map(|field| field.name.as_str());
            return Err(Error::invalid(format!("{} has no param \"{name}\"", signature.name))
                .with_hint(crate::error::did_you_mean(&name, known)));
        };
        let scalar = Scalar::from_json(&Value::String(value), field.data_type);
        let scalar = scalar.context(|| format!("param {name}"))?;
        params.insert(name, scalar);
    }
    Ok(params)
}

/// What is given as `name=value`, each name once.
pub(super) fn pairs(given: &[String]) -> Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once('=') else {
            return Err(
                Error::invalid(format!("not a pair: {text:?}")).with_hint("write name=value")
            );
        };
        if let Some(other) = pairs.insert(name.to_owned(), value.to_owned()) {
            return Err(Error::invalid(format!(
                "\"{name}\" is given twice, as \"{other}\" and as \"{value}\""
            )));
        }
    }
    Ok(pairs)
}

/// An error where a param of a function has no value.
///
/// # Errors
/// [`crate::error::Kind::Invalid`], naming the first such param.
pub(super) fn refuse_missing(
    params: &BTreeMap<String, Scalar>,
    signature: &Function,
) -> Result<()> {
    match signature.params.iter().find(|param| !params.contains_key(&param.name)) {
        Some(Field { name, .. }) => Err(Error::invalid(format!(
            "nothing is given for param \"{name}\" of function \"{}\"",
            signature.name
        ))
        .with_hint(format!("give it with --param {name}=VALUE"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        value::DataType,
        wasm::testing::{field, function},
    };

    fn check<T: std::fmt::Debug>(outcome: Result<T>, expected: &str) {
        assert_eq!(outcome.unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_name_is_given_once() {
        let given = |pairs: &[&str]| pairs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let std = || "std".to_owned();
        assert_eq!(
            pairs(&given(&["std=1=2"])).unwrap(),
            BTreeMap::from([(std(), "1=2".to_owned())])
        );
        let twice = "\"std\" is given twice, as \"1\" and as \"2\"";
        check(pairs(&given(&["std=1", "mean=0", "std=2"])), twice);
        check(pairs(&given(&["std"])), "not a pair: \"std\"\nhint: write name=value");
    }

    #[test]
    fn the_param_that_is_missing_is_named() {
        let mut scale = function("scale", &[], &[]);
        scale.params = ["mean", "std"].map(|name| field(name, DataType::Float64, false)).into();
        let given = given_params(&["mean=1.5".to_owned()], &scale).unwrap();
        check(
            refuse_missing(&given, &scale),
            "nothing is given for param \"std\" of function \"scale\"\n\
             hint: give it with --param std=VALUE",
        );
    }
}
