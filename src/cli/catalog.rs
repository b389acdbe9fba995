//! `unskew catalog`.

use clap::{Args, Subcommand};

use super::{Context, Verdict, table::table};
use crate::{
    catalog::{Entry, Hit, list, search, show},
    error::Result,
    name::FeatureRef,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find what may have been built already, by words of names, descriptions, tags and owners.
    ///
    /// Exit code 1 if nothing is found.
    Search(Search),
    /// Show all there is to say about one thing, and who uses it.
    Show(Show),
    /// List what is in force, view by view.
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct Search {
    /// Words, all of which have to fit; case and what separates them do not matter.
    #[arg(required = true)]
    query: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// A view, a service, an entity, a source, view:feature, a feature's name, or
    /// team/name@version#function.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct List {}

impl Command {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let in_force = context.app()?.in_force().await?;
        match self {
            Self::Search(command) => {
                let hits = search(&in_force.state, &command.query.join(" "));
                let entries: Vec<&Entry> = hits.iter().map(|Hit { entry, .. }| entry).collect();
                context.output.result(render(&entries), &hits)?;
                Ok(if hits.is_empty() { Verdict::No } else { Verdict::Yes })
            }
            Self::Show(command) => {
                let fingerprint = |feature: &FeatureRef| in_force.fingerprints.feature(feature);
                let shown = show(&in_force.state, &command.name, fingerprint)?;
                context.output.result(&shown, &shown)?;
                Ok(Verdict::Yes)
            }
            Self::List(List {}) => {
                let entries = list(&in_force.state);
                context.output.result(render(&entries.iter().collect::<Vec<_>>()), &entries)?;
                Ok(Verdict::Yes)
            }
        }
    }
}

/// One entry a line, with the first line of its description.
fn render(entries: &[&Entry]) -> String {
    if entries.is_empty() {
        return "nothing found".to_owned();
    }
    let row = |entry: &&Entry| {
        let description = entry.description.lines().next().unwrap_or_default();
        vec![
            entry.name.clone(),
            entry.kind.words().to_owned(),
            entry.team.clone(),
            entry.owner.clone(),
            description.to_owned(),
        ]
    };
    let rows = entries.iter().map(row).collect();
    table(&["name", "kind", "team", "owner", "description"], rows)
}
