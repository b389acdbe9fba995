//! `unskew transform inspect`.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::{Context, Verdict, find, load};
use crate::{
    error::Result,
    value::{Field, Function},
};

/// Show the functions of a component, with their types and documentation.
#[derive(Debug, Args)]
pub(in crate::cli) struct Inspect {
    /// A crate's folder, a component's file, or team/name@version.
    transform: String,
}

impl Inspect {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let found = find(context, &self.transform).await?;
        let transform = load(context, &found)?;
        let name = found.name.map(|name| name.to_string());
        let mut text = format!(
            "{} {}\n{} bytes, no imports\n",
            name.as_deref().unwrap_or(&self.transform),
            transform.digest(),
            found.bytes.len()
        );
        for function in transform.functions() {
            describe(function, &mut text);
        }
        let data = json!({
            "name": name, "digest": transform.digest(), "size": found.bytes.len(),
            "functions": transform.functions(),
        });
        context.output.result(text, &data)?;
        Ok(Verdict::Yes)
    }
}

fn describe(function: &Function, text: &mut String) {
    let _ = writeln!(text, "\n{function}");
    for line in function.documentation.lines() {
        let _ = writeln!(text, "    {line}");
    }
    for (kind, fields) in
        [("input", &function.inputs), ("param", &function.params), ("output", &function.outputs)]
    {
        for Field { name, documentation, .. } in
            fields.iter().filter(|field| !field.documentation.is_empty())
        {
            let _ = writeln!(text, "    {kind} {name}: {}", documentation.replace('\n', " "));
        }
    }
}
