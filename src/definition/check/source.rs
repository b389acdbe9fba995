//! Entities, sources, and the reading of their columns.

use std::collections::BTreeMap;

use super::{Checker, Column, Subject};
use crate::{
    definition::{
        Entity, Source, SourceData,
        parse::node::{EntityNode, SourceNode},
        problem::Located,
    },
    error::{Error, did_you_mean},
    value::DataType,
};

/// A source as a feature view reads it.
pub(super) struct Reading<'a> {
    pub(super) source: &'a str,
    /// Its columns, where they are known.
    pub(super) columns: Option<&'a BTreeMap<String, Column>>,
    /// The columns read so far, with their types and what they are read for.
    pub(super) read: BTreeMap<String, (DataType, String)>,
}

impl<'a> Checker<'a> {
    pub(super) fn entity(&mut self, _: Subject<'a>, node: &'a EntityNode) -> Option<Entity> {
        for (name, key) in &node.join_keys {
            self.bring(name, key.value, key.at);
        }
        let keys = node.join_keys.iter();
        Some(Entity {
            join_keys: keys.map(|(name, key)| (name.clone(), key.value)).collect(),
            about: node.about.clone(),
        })
    }

    pub(super) fn source(&mut self, subject: Subject<'a>, node: &'a SourceNode) -> Option<Source> {
        let data = node.data.as_ref()?;
        let columns = self.look_up(subject, data);
        let mut reading = Reading::of(subject.name, columns);
        for (key, column) in [("timestamp", &node.timestamp), ("created", &node.created)] {
            if let Some(column) = column {
                self.read(&mut reading, column, DataType::Timestamp, format!("\"{key}\""));
            }
        }
        Some(Source {
            data: data.value.clone(),
            timestamp: node.timestamp.as_ref()?.value.clone(),
            created: node.created.as_ref().map(|column| column.value.clone()),
            visible: node.visible,
            about: node.about.clone(),
        })
    }

    fn look_up(
        &mut self,
        subject: Subject<'a>,
        data: &Located<SourceData>,
    ) -> Option<&'a BTreeMap<String, Column>> {
        let error = match self.environment.sources.get(subject.name) {
            Some(Ok(columns)) => return Some(columns),
            Some(Err(error)) => error.clone(),
            None => Error::internal("nobody looked it up"),
        };
        let outcome = format!("source \"{}\" cannot be read", subject.name);
        self.problems.add(data.at, error.context(outcome));
        None
    }

    /// Checks that a column is there and holds values that can be read as a type.
    pub(super) fn read(
        &mut self,
        reading: &mut Reading<'a>,
        column: &Located<String>,
        data_type: DataType,
        reader: String,
    ) {
        let (name, source) = (&column.value, reading.source);
        let Some(columns) = reading.columns else {
            return;
        };
        match columns.get(name) {
            None => {
                let message = format!("source \"{source}\" has no column \"{name}\" for {reader}");
                let known = columns.keys().map(String::as_str);
                self.refuse(column.at, message, did_you_mean(name, known));
            }
            Some(Column::Unsupported(arrow)) => self.refuse(
                column.at,
                format!(
                    "{reader} has type {data_type}, \
                     and column \"{name}\" of source \"{source}\" the Arrow type {arrow}"
                ),
                format!("{arrow} has no counterpart here; a SQL source can cast the column"),
            ),
            Some(Column::Of(held)) if !held.widens_to(data_type) => self.refuse(
                column.at,
                format!(
                    "{reader} has type {data_type}, \
                     and column \"{name}\" of source \"{source}\" type {held}"
                ),
                readable_as(*held),
            ),
            Some(Column::Of(_)) => self.read_once(reading, column, data_type, reader),
        }
    }

    fn read_once(
        &mut self,
        reading: &mut Reading<'a>,
        column: &Located<String>,
        data_type: DataType,
        reader: String,
    ) {
        let name = &column.value;
        match reading.read.get(name) {
            Some((other, first)) if *other != data_type => self.refuse(
                column.at,
                format!("column \"{name}\" is read as {other} for {first} and as {data_type} for {reader}"),
                "read it as one type, or give it two names in a SQL source",
            ),
            _ => {
                reading.read.insert(name.clone(), (data_type, reader));
            }
        }
    }
}

impl<'a> Reading<'a> {
    pub(super) fn of(source: &'a str, columns: Option<&'a BTreeMap<String, Column>>) -> Self {
        Self { source, columns, read: BTreeMap::new() }
    }
}

fn readable_as(held: DataType) -> String {
    let types = DataType::ALL.into_iter().filter(|wider| held.widens_to(*wider));
    let types: Vec<_> = types.map(DataType::name).collect();
    let types = types.join(" or ");
    format!("a column of {held} can be read as {types}; a SQL source can cast it to other types")
}
