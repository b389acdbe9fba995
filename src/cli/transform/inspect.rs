//! `unskew transform inspect`.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::{Context, Found, Verdict, check_runtime, find};
use crate::{
    digest::Digest,
    error::{Error, Kind, Result},
    publish::{Budget, check},
    registry::{Checked, FunctionCheck},
    value::{Field, Function},
};

/// Show the functions of a component, what the publish check found, and what they cost.
///
/// Of a published transform this is the report that was kept with it. A crate or a file is checked
/// now, as publishing it would.
#[derive(Debug, Args)]
pub(in crate::cli) struct Inspect {
    /// A crate's folder, a component's file, or team/name@version.
    transform: String,
}

impl Inspect {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let found = find(context, &self.transform).await?;
        let runtime = check_runtime(context)?;
        let transform = runtime.load(&found.bytes)?;
        let checked = match found.published {
            true => context.app()?.registry()?.report(&transform.digest()).await?.checked,
            false => None,
        };
        let (checked, refused) = match (checked, found.published) {
            (None, false) => {
                match check(&found.bytes, &found.cases, &runtime, &Budget::default()) {
                    Ok(checked) => (Some(checked), None),
                    Err(error) if error.kind() == Kind::Transform => (None, Some(error)),
                    Err(error) => return Err(error),
                }
            }
            (checked, _) => (checked, None),
        };
        let functions = transform.functions();
        let text =
            self.show(&found, transform.digest(), functions, checked.as_ref(), refused.as_ref());
        let data = json!({
            "name": found.name, "digest": transform.digest(), "size": found.bytes.len(),
            "functions": functions, "checked": checked,
            "refused": refused.as_ref().map(Error::message),
        });
        context.output.result(text, &data)?;
        Ok(if refused.is_none() { Verdict::Yes } else { Verdict::No })
    }

    fn show(
        &self,
        found: &Found,
        digest: Digest,
        functions: &[Function],
        checked: Option<&Checked>,
        refused: Option<&Error>,
    ) -> String {
        let name = found.name.as_ref().map(ToString::to_string);
        let name = name.as_deref().unwrap_or(&self.transform);
        let mut text = format!("{name} {digest}\n{} bytes, no imports\n", found.bytes.len());
        match (checked, refused) {
            (Some(checked), _) => show_checked(checked, &mut text),
            (None, Some(error)) => {
                let _ = writeln!(text, "it would not be published: {error}");
            }
            (None, None) => {
                let _ = writeln!(text, "published before there was a check");
            }
        }
        for function in functions {
            describe(function, &mut text);
            if let Some(found) = checked.and_then(|checked| checked.functions.get(&function.name)) {
                show_function(found, &mut text);
            }
        }
        text
    }
}

fn show_checked(checked: &Checked, text: &mut String) {
    let Checked { exports, features, memory_bytes, cases, .. } = checked;
    let _ = writeln!(text, "exports {}", exports.join(", "));
    let _ = writeln!(text, "uses of WebAssembly {}", features.join(", "));
    let _ = writeln!(text, "at most {} KiB of memory in a call", memory_bytes >> 10);
    let _ = writeln!(text, "{cases} golden cases pass");
}

fn show_function(found: &FunctionCheck, text: &mut String) {
    let FunctionCheck { rows, calls, values, row_errors, stopped, stopping, cost } = found;
    let _ = writeln!(
        text,
        "    pure in {rows} rows and {calls} calls: {values} with values, {row_errors} row errors, \
         {stopped} that end the call"
    );
    if let Some(stopping) = stopping {
        let _ = writeln!(text, "    a row that ends the call: {stopping}");
    }
    if let Some(cost) = cost {
        let _ = writeln!(
            text,
            "    instructions: {} a row, {} for the worst ({}), and {} a call",
            cost.median_row, cost.worst_row, cost.worst, cost.per_call
        );
        for growth in &cost.growth {
            let _ = writeln!(text, "    {growth}");
        }
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
