//! Which entity rows a command is about.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;

use crate::{
    error::{Error, Result},
    offline::{DEFAULT_TIME, EntityOrigin, EntityRequest, Sample, Selection},
};

/// The entity dataframe of a training dataset.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct EntityArguments {
    /// The entity dataframe, with join keys and a time for every row: a Parquet file, a CSV file
    /// (.csv), or an Arrow IPC file or stream (.arrow, .arrows, .ipc, .feather).
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "entities_sql",
        conflicts_with = "entities_sql"
    )]
    entities: Option<PathBuf>,
    /// The entity dataframe: what a query over the project's sources gives.
    #[arg(long, value_name = "SQL")]
    entities_sql: Option<String>,
    /// Read a column under another name: user_id=customer reads user_id from the column customer.
    /// Repeat it for more.
    #[arg(long = "map", value_name = "NAME=COLUMN", value_parser = mapped)]
    names: Vec<(String, String)>,
    /// The entity dataframe's column with the time of each row.
    #[arg(long, value_name = "COLUMN", default_value = DEFAULT_TIME)]
    timestamp_column: String,
    /// Take only this part of the rows: 0.1 for a tenth. The same rows every time.
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    sample: Option<f64>,
    /// Another number takes another sample.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sample")]
    seed: u64,
    /// Take only the first rows, of the sample where there is one.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl EntityArguments {
    /// What is asked for.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when a name is mapped twice.
    pub(super) fn request(self) -> Result<EntityRequest> {
        let origin = match (self.entities, self.entities_sql) {
            (Some(path), _) => EntityOrigin::File(path),
            (None, Some(sql)) => EntityOrigin::Sql(sql),
            (None, None) => return Err(Error::internal("no entity dataframe")),
        };
        let mut names = BTreeMap::new();
        for (name, column) in self.names {
            if let Some(other) = names.insert(name.clone(), column.clone()) {
                return Err(Error::invalid(format!(
                    "\"{name}\" is mapped twice, to \"{other}\" and to \"{column}\""
                )));
            }
        }
        let sample = self.sample.map(|fraction| Sample { fraction, seed: self.seed });
        let selection = Selection { sample, limit: self.limit };
        Ok(EntityRequest { origin, names, time: self.timestamp_column, selection })
    }
}

fn mapped(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((name, column)) if !name.is_empty() && !column.is_empty() => {
            Ok((name.to_owned(), column.to_owned()))
        }
        _ => Err(Error::invalid(format!("not a mapped name: {text:?}")).with_hint(
            "write NAME=COLUMN: the name that is wanted, and what the column is called",
        )),
    }
}

fn fraction(text: &str) -> Result<f64> {
    let fraction = text.parse().ok().filter(|fraction| *fraction > 0.0 && *fraction <= 1.0);
    fraction.ok_or_else(|| {
        Error::invalid(format!("not a part of the rows: {text:?}"))
            .with_hint("a fraction is above 0 and at most 1: 0.1 takes a tenth")
    })
}
