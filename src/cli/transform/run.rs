//! `unskew transform run`.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{Context, Verdict, find, load};
use crate::{
    cli::{output::progress, resources::ResourceArguments},
    definition::{CallLimits, OnError},
    error::{Context as _, Error, Result},
    evaluate::{Binding, Evaluation},
    offline::run_file,
    value::{Function, Scalar},
};

/// Run a Parquet file through a function, into a Parquet file: its columns, and the outputs behind
/// them.
#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// The function: team/name@version#function, or a crate's folder or a component's file with
    /// #function behind it.
    function: String,
    /// The Parquet file, or a folder of them, to read.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The Parquet file to write; one that is there is replaced when the new one is complete.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
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
    resources: ResourceArguments,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let Some((transform, function)) = self.function.rsplit_once('#') else {
            return Err(Error::invalid(format!("not a function: {:?}", self.function)).with_hint(
                "name one as team/name@version#function; unskew transform inspect lists them",
            ));
        };
        let found = find(context, transform).await?;
        let transform = load(context, &found)?;
        let signature = &transform.functions()[transform.function(function)?];
        let evaluation = Evaluation::new(transform.clone(), &self.bind(signature)?)?;
        let bar = context.output.rows(function);
        let resources = self.resources.resources();
        let ran = run_file(evaluation, &self.input, &self.output, &resources, progress(&bar)).await;
        bar.finish_and_clear();
        let ran = ran?;
        let mut text = format!(
            "{}: {} rows through {} ({})",
            self.output.display(),
            ran.content.rows,
            self.function,
            transform.digest().short()
        );
        if ran.row_errors.count > 0 {
            text.push_str(&format!(
                "\n{} rows null because the function refused them, e.g. {}",
                ran.row_errors.count, ran.row_errors.example
            ));
        }
        let data = json!({
            "file": self.output, "rows": ran.content.rows, "digest": transform.digest(),
            "content_hash": ran.content.hash, "row_errors": ran.row_errors,
        });
        context.output.result(text, &data)?;
        Ok(Verdict::Yes)
    }

    fn bind(&self, signature: &Function) -> Result<Binding> {
        let params = given_params(&self.params, signature)?;
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

pub(super) fn pairs(given: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Error::invalid(format!("not a pair: {text:?}")).with_hint("write name=value")),
    };
    given.iter().map(pair).collect()
}
