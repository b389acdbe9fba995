//! `unskew transform publish`.

use clap::Args;
use serde_json::json;

use super::{Context, Verdict, find};
use crate::{
    error::{Error, Result},
    name::TransformName,
    registry::{PublishReport, Published},
    time::Timestamp,
};

/// Put a component into the registry under its name and version, for ever.
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
        let app = context.app()?;
        let found = find(context, &self.transform).await?;
        let runtime = app.runtime()?;
        let transform = runtime
            .load(&found.bytes)
            .map_err(|error| error.context(format!("{} not published", self.transform)))?;
        let name = self.name.or(found.name).ok_or_else(|| {
            Error::invalid(format!("{} not published: it has no name", self.transform))
                .with_hint("give it one with --name team/name@version")
        })?;
        let report = PublishReport {
            digest: transform.digest(),
            size: found.bytes.len() as u64,
            functions: transform.functions().to_vec(),
            runtime: runtime.profile().digest,
            published_at: Timestamp::now(),
        };
        let published = app.registry()?.publish(&name, found.bytes.into(), report).await?;
        let digest = transform.digest();
        let text = match published {
            Published::New => format!("published {name} as {digest}"),
            Published::Already => {
                format!("{name} is published already, with the same bytes: {digest}")
            }
        };
        let data = json!({"name": name, "digest": digest, "new": published == Published::New});
        context.output.result(text, &data)?;
        Ok(Verdict::Yes)
    }
}
