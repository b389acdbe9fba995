//! `unskew transform publish`.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::{Context, Verdict, check_runtime, find};
use crate::{
    error::{Error, Result},
    name::TransformName,
    publish::{Before, Candidate, Publication, publish},
    registry::Published,
    time::Timestamp,
};

/// Check a component, and put it into the registry under its name and version, for ever.
#[derive(Debug, Args)]
pub(in crate::cli) struct Publish {
    /// A crate's folder, or a component's file.
    transform: String,
    /// The name and version to publish it as; a crate has its own.
    #[arg(long, value_name = "TEAM/NAME@VERSION")]
    name: Option<TransformName>,
}

impl Publish {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let registry = context.app()?.registry()?;
        let found = find(context, &self.transform).await?;
        let name = self.name.or(found.name).ok_or_else(|| {
            Error::invalid(format!("{} not published: it has no name", self.transform))
                .with_hint("give it one with --name team/name@version")
        })?;
        let (runtime, project) = (check_runtime(context)?, super::runtime(context)?);
        let candidate = Candidate { name: name.clone(), bytes: found.bytes, cases: found.cases };
        let Publication { digest, published, checked, before, other_cases } =
            publish(candidate, &registry, &runtime, &project, Timestamp::now()).await?;
        let mut text = match published {
            Published::New => format!("published {name} as {digest}"),
            Published::Already => {
                format!("{name} is published already, with the same bytes: {digest}")
            }
        };
        if let Some(checked) = &checked {
            let rows: u64 = checked.functions.values().map(|found| found.rows).sum();
            let calls: u64 = checked.functions.values().map(|found| found.calls).sum();
            let _ = write!(
                text,
                "\nfunctions are pure in {rows} rows and {calls} calls; {} golden cases pass",
                checked.cases
            );
        }
        if other_cases {
            text.push_str(
                "\nits golden cases stay those it was published with: those given now were neither run \
                 nor kept; publish a higher version to change them",
            );
        }
        before.iter().for_each(|before| say(before, &mut text));
        let before = before.map(|Before { name, cases, changed }| {
            let changed = changed.iter().map(|(case, what)| json!({"case": case, "what": what}));
            json!({"name": name, "cases": cases, "changed": changed.collect::<Vec<_>>()})
        });
        let data = json!({
            "name": name, "digest": digest, "new": published == Published::New,
            "checked": checked, "before": before, "other_cases": other_cases,
        });
        context.output.result(text, &data)?;
        Ok(Verdict::Yes)
    }
}

/// Golden cases that are shown.
const SHOWN: usize = 20;

fn say(before: &Before, text: &mut String) {
    let Before { name, cases, changed } = before;
    let _ = write!(text, "\nof the {cases} golden cases of {name}, {} change", changed.len());
    for (case, what) in changed.iter().take(SHOWN) {
        let _ = write!(text, "\n  {case}: {what}");
    }
    if changed.len() > SHOWN {
        let _ = write!(text, "\n  … {} more", changed.len() - SHOWN);
    }
}
