//! The columns of an entity dataframe: what they are called here and there, and which have to be there.

use std::{collections::BTreeMap, fmt};

use arrow::datatypes::Schema;

use super::EntityRequest;
use crate::{
    error::{Error, Result, did_you_mean, nearest},
    offline::ROW_NUMBER,
    value::DataType,
};

/// A column of an entity dataframe.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// What it is called where it is read from.
    pub(super) held: String,
    /// The type that it gets; without one, it is carried through as it is.
    pub(super) data_type: Option<DataType>,
}

/// For people: `column "user_id"`, and `column "customer" (user_id)` where it is called otherwise.
impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column \"{}\"", self.held)?;
        match self.name == self.held {
            true => Ok(()),
            false => write!(f, " ({})", self.name),
        }
    }
}

/// The columns, by the names they have here and with the types they get.
pub(super) fn columns(
    name: &str,
    held: &Schema,
    request: &EntityRequest,
    typed: &BTreeMap<String, DataType>,
) -> Result<Vec<Column>> {
    let names: Vec<&str> = held.fields().iter().map(|field| field.name().as_str()).collect();
    refuse_unmapped(name, &names, request)?;
    let called: BTreeMap<&str, &str> =
        request.names.iter().map(|(name, held)| (held.as_str(), name.as_str())).collect();
    let columns = names.iter().map(|held| {
        let name = called.get(held).unwrap_or(held);
        Column {
            name: (*name).to_owned(),
            held: (*held).to_owned(),
            data_type: typed.get(*name).copied(),
        }
    });
    let columns: Vec<Column> = columns.collect();
    refuse_names(name, &columns)?;
    refuse_missing(name, &columns, request, typed)?;
    Ok(columns)
}

/// An error where a name is mapped to a column that is not there, or two to one.
fn refuse_unmapped(name: &str, held: &[&str], request: &EntityRequest) -> Result<()> {
    let mut taken = BTreeMap::new();
    for (here, there) in &request.names {
        if !held.contains(&there.as_str()) {
            return Err(Error::invalid(format!(
                "{name} has no column \"{there}\", which is to be \"{here}\"; it has: {}",
                held.join(", ")
            ))
            .with_hint(did_you_mean(there, held.iter().copied())));
        }
        if let Some(other) = taken.insert(there, here) {
            return Err(Error::invalid(format!(
                "{name}: column \"{there}\" is to be both \"{other}\" and \"{here}\""
            ))
            .with_hint("a column has one name; in SQL it can be selected twice"));
        }
    }
    Ok(())
}

/// An error where two columns have one name, or one has that of the row number.
fn refuse_names(name: &str, columns: &[Column]) -> Result<()> {
    for (place, column) in columns.iter().enumerate() {
        if column.name == ROW_NUMBER {
            return Err(Error::invalid(format!(
                "{name} has a column \"{ROW_NUMBER}\", which is kept for the number of the row"
            )));
        }
        if let Some(other) = columns[..place].iter().find(|other| other.name == column.name) {
            let error = Error::invalid(format!("{name} has two columns \"{}\"", column.name));
            return Err(match column.held == other.held {
                true => error,
                false => error.with_hint(format!(
                    "they are \"{}\" and \"{}\" there: map the other one to another name",
                    other.held, column.held
                )),
            });
        }
    }
    Ok(())
}

/// An error where a column is not there that has to be.
fn refuse_missing(
    name: &str,
    columns: &[Column],
    request: &EntityRequest,
    typed: &BTreeMap<String, DataType>,
) -> Result<()> {
    let there: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    if !there.contains(&request.time.as_str()) {
        return Err(Error::invalid(format!(
            "{name} has no column \"{}\" with the times; it has: {}",
            request.time,
            there.join(", ")
        ))
        .with_hint("name the column with --timestamp-column"));
    }
    let missing: Vec<&str> =
        typed.keys().map(String::as_str).filter(|name| !there.contains(name)).collect();
    match missing.first() {
        Some(first) => Err(Error::invalid(format!(
            "{name} has no column {}; it has: {}",
            missing.join(", "),
            there.join(", ")
        ))
        .with_hint(match nearest(first, there.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"? --map {first}={near} reads it so"),
            None => format!("--map {first}=COLUMN reads it from a column of another name"),
        })),
        None => Ok(()),
    }
}
