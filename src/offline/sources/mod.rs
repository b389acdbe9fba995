//! Data sources: Parquet files, Delta tables and queries over them, as tables of one session.

mod conform;
mod delta;
mod evolution;
mod files;
mod parts;
mod pieces;
mod place;
mod query;
mod serial;
mod table;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arrow::datatypes::Schema;
use datafusion::{
    catalog::TableProvider,
    common::ScalarValue,
    logical_expr::{Expr, ident, lit},
    prelude::{DataFrame, SessionContext},
};
use futures::{FutureExt, future::BoxFuture};

use conform::Conform;
pub use parts::{InputFile, RowGroup, SourceInputs};
pub(super) use pieces::Piece;
pub(super) use place::{HIVE_NULL, UNFINISHED, base, would_take};
use table::ParquetTable;

use super::{
    SourceFile,
    errors::from_datafusion,
    feature_rows::{CREATED, EVENT, Layout, key_column},
    period::Period,
};
use crate::{
    definition::{Source, SourceData, Visible},
    error::{Context, Error, Result, did_you_mean},
    storage::{Location, Object, Storage},
    value::DataType,
};

/// Where sources are looked for.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// What paths are relative to.
    pub folder: PathBuf,
    /// The way to files and objects.
    pub storage: Storage,
    /// The versions to read of Delta tables, by source; of others, what the definition says, or
    /// the newest.
    pub versions: BTreeMap<String, u64>,
}

/// A version of a Delta table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeltaVersion {
    /// The table.
    pub location: Location,
    /// The version that is read.
    pub version: u64,
}

/// The sources of a project. Of those that have been opened the schemas are known, and the rows can
/// be read.
pub struct Sources {
    context: SessionContext,
    places: Places,
    definitions: BTreeMap<String, Source>,
    tables: BTreeMap<String, Table>,
}

struct Table {
    provider: Arc<dyn TableProvider>,
    origin: Origin,
}

/// What the rows of a table come from.
enum Origin {
    /// Files, as they were when the table was opened, in the order in which the table has them; of
    /// a version of a Delta table or not.
    Files(Vec<Object>, Arc<ParquetTable>, Option<DeltaVersion>),
    /// Other sources, by their names.
    Query(Vec<String>),
}

/// The columns of a table in order: their types, or where a type has no counterpart, its name in
/// Arrow.
pub type Columns = Vec<(String, Result<DataType, String>)>;

pub(super) fn columns(schema: &Schema) -> Columns {
    let column = |field: &Arc<arrow::datatypes::Field>| {
        let data_type = DataType::of_arrow(field.data_type());
        (field.name().clone(), data_type.ok_or_else(|| field.data_type().to_string()))
    };
    schema.fields().iter().map(column).collect()
}

impl Sources {
    /// Sources of which none is open yet. Their tables will be those of `context`, a session by
    /// [`super::session`] without any.
    pub fn new(
        context: SessionContext,
        places: Places,
        definitions: BTreeMap<String, Source>,
    ) -> Self {
        Self { context, places, definitions, tables: BTreeMap::new() }
    }

    /// Opens those of the sources that are `wanted`, and those that their queries read, where they
    /// are not open yet. The others are left alone: what is wrong with one source keeps nobody from
    /// reading another.
    ///
    /// A folder stands for all files in it and below it whose names end in `.parquet`, but for
    /// hidden ones and those whose names start with an underscore; a folder with a `_delta_log` is
    /// a Delta table.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such source or no file,
    /// [`crate::error::Kind::Corrupt`] when a file is damaged, [`crate::error::Kind::Invalid`] when
    /// files do not fit together, a query cannot be planned or does more than read, or queries read
    /// one another in a circle; [`crate::error::Kind::Unavailable`] when a store does not answer or
    /// denies access.
    pub async fn open<'a>(&mut self, wanted: impl IntoIterator<Item = &'a str>) -> Result<()> {
        for source in wanted {
            self.open_one(source, &mut Vec::new()).await?;
        }
        Ok(())
    }

    /// Opens a source and what it reads; `readers` read it, the nearest last.
    fn open_one<'a>(
        &'a mut self,
        source: &'a str,
        readers: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if self.tables.contains_key(source) {
                return Ok(());
            }
            if readers.iter().any(|reader| reader == source) {
                readers.push(source.to_owned());
                return Err(Error::invalid(format!(
                    "sources read one another in a circle: {}",
                    readers.join(" -> ")
                )));
            }
            let definition = self.definition(source)?.clone();
            let table = match &definition.data {
                SourceData::Path(path) => self.open_path(source, path, None).await?,
                SourceData::Version { path, version } => {
                    self.open_path(source, path, Some(*version)).await?
                }
                SourceData::Sql(sql) => {
                    readers.push(source.to_owned());
                    let table = self.open_query(&named(source), sql, readers).await?;
                    readers.pop();
                    table
                }
            };
            let registered =
                self.context.register_table(query::bare(source), Arc::clone(&table.provider));
            registered.map_err(|error| from_datafusion(error).context(named(source)))?;
            self.tables.insert(source.to_owned(), table);
            Ok(())
        }
        .boxed()
    }

    async fn open_path(&self, source: &str, path: &str, version: Option<u64>) -> Result<Table> {
        let Places { folder, storage, versions } = &self.places;
        let version = versions.get(source).copied().or(version);
        let open = async {
            let location = Location::parse(path, folder)?;
            files::open(&self.context, storage, &location, version).await
        };
        open.await.context(|| named(source))
    }

    /// A query over sources that is none itself, as a table, and the names of the sources that it
    /// reads: they are opened where they are not open yet. Messages call it `what`.
    ///
    /// # Errors
    /// Those of [`Sources::open`].
    pub(super) async fn query(
        &mut self,
        what: &str,
        sql: &str,
    ) -> Result<(Arc<dyn TableProvider>, Vec<String>)> {
        let table = self.open_query(what, sql, &mut Vec::new()).await?;
        match table.origin {
            Origin::Query(reads) => Ok((table.provider, reads)),
            Origin::Files(..) => Err(Error::internal("a query of files")),
        }
    }

    async fn open_query(
        &mut self,
        what: &str,
        sql: &str,
        readers: &mut Vec<String>,
    ) -> Result<Table> {
        let query = query::Query::parse(&self.context, sql).context(|| what)?;
        for read in query.sources() {
            if !self.definitions.contains_key(read) {
                let error = self.unknown(read);
                return Err(error.context(what));
            }
            self.open_one(read, readers).await?;
        }
        let reads: Vec<String> = query.sources().map(str::to_owned).collect();
        let provider = query.plan(&self.context).await.context(|| what)?;
        Ok(Table { provider, origin: Origin::Query(reads) })
    }

    fn definition(&self, source: &str) -> Result<&Source> {
        self.definitions.get(source).ok_or_else(|| self.unknown(source))
    }

    fn unknown(&self, source: &str) -> Error {
        let known = self.definitions.keys().map(String::as_str);
        Error::not_found(format!("no such source: \"{source}\""))
            .with_hint(did_you_mean(source, known))
    }

    fn table(&self, source: &str) -> Result<&Table> {
        self.definition(source)?;
        let unopened = || Error::internal(format!("source \"{source}\" was not opened"));
        self.tables.get(source).ok_or_else(unopened)
    }

    /// The session in which the sources are tables, by their names.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// How many partitions are worked on at once.
    pub fn partitions(&self) -> usize {
        self.context.copied_config().target_partitions()
    }

    /// The places that sources are looked for in.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The files that a source is read from, directly or by its query, as they were when it was
    /// opened; in the order of their paths.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such source.
    pub fn files(&self, source: &str) -> Result<Vec<SourceFile>> {
        let objects = self.objects([source])?;
        Ok(objects.into_iter().map(|object| SourceFile::of(object, &self.places.folder)).collect())
    }

    /// The objects that sources are read from, each once, in the order of their paths.
    pub(super) fn objects<'a>(
        &self,
        sources: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<&Object>> {
        let mut objects = BTreeMap::new();
        for (_, table) in self.origins(sources)? {
            if let Origin::Files(found, ..) = &table.origin {
                objects.extend(found.iter().map(|object| (&object.location, object)));
            }
        }
        Ok(objects.into_values().collect())
    }

    /// The versions that are read of Delta tables, by source.
    pub(super) fn delta_versions<'a>(
        &self,
        sources: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, DeltaVersion>> {
        let versions =
            self.origins(sources)?.into_iter().filter_map(|(name, table)| match &table.origin {
                Origin::Files(.., version) => Some((name.to_owned(), version.clone()?)),
                Origin::Query(_) => None,
            });
        Ok(versions.collect())
    }

    /// The tables that sources are read from, directly or by their queries.
    fn origins<'a>(
        &self,
        sources: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<&str, &Table>> {
        let mut origins = BTreeMap::new();
        let mut waiting = Vec::new();
        for source in sources {
            self.table(source)?;
            waiting.extend(self.tables.get_key_value(source));
        }
        while let Some((name, table)) = waiting.pop() {
            if origins.insert(name.as_str(), table).is_none()
                && let Origin::Query(reads) = &table.origin
            {
                waiting.extend(reads.iter().filter_map(|read| self.tables.get_key_value(read)));
            }
        }
        Ok(origins)
    }

    /// From when on a row of a source can be seen.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such source.
    pub fn visible(&self, source: &str) -> Result<Visible> {
        Ok(self.definition(source)?.visible)
    }

    /// The columns of a source.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such source.
    pub fn columns(&self, source: &str) -> Result<Columns> {
        Ok(columns(&self.table(source)?.provider.schema()))
    }

    /// The rows of a source as a view reads them, with the columns of `layout`; the join keys are
    /// columns of the source by their own names. Rows with a null join key are of no entity and
    /// are left out. Rows whose event time is not in `period` may be left out, as far as that
    /// saves reading them.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such source,
    /// [`crate::error::Kind::Invalid`] when a column is missing or of another type. A value that
    /// does not fit, and a null event time, are errors when the rows are read.
    pub fn rows(&self, source: &str, layout: &Layout, period: Period) -> Result<DataFrame> {
        self.rows_from(Arc::clone(&self.table(source)?.provider), source, layout, period)
    }

    /// The rows of a table with the columns of a source, as a view reads them.
    fn rows_from(
        &self,
        provider: Arc<dyn TableProvider>,
        source: &str,
        layout: &Layout,
        period: Period,
    ) -> Result<DataFrame> {
        let columns = self.projection(source, layout)?;
        let time = &self.definition(source)?.timestamp;
        let schema = provider.schema();
        let timely = schema
            .field_with_name(time)
            .ok()
            .and_then(|field| period.may_contain(time, field.data_type()));
        let keyed = layout.keys.keys().map(|key| ident(key).is_not_null());
        let wanted = keyed.chain(timely).reduce(Expr::and).unwrap_or_else(|| lit(true));
        let table = self.context.read_table(provider);
        let rows = table.and_then(|table| table.filter(wanted)?.select(columns));
        rows.map_err(|error| from_datafusion(error).context(named(source)))
    }

    /// The columns of `layout`, in terms of those of the source.
    fn projection(&self, source: &str, layout: &Layout) -> Result<Vec<Expr>> {
        let definition = self.definition(source)?;
        let schema = self.table(source)?.provider.schema();
        let conform = |column: &str, data_type| {
            if schema.field_with_name(column).is_err() {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                return Err(Error::invalid(format!(
                    "{} has no column \"{column}\"",
                    named(source)
                ))
                .with_hint(did_you_mean(column, names)));
            }
            Ok(Conform::new(source, column, data_type))
        };
        let mut columns = Vec::new();
        for (key, data_type) in &layout.keys {
            columns.push(conform(key, *data_type)?.call().alias(key_column(key)));
        }
        let event = conform(&definition.timestamp, DataType::Timestamp)?.required();
        columns.push(event.call().alias(EVENT));
        let created = match &definition.created {
            Some(created) => conform(created, DataType::Timestamp)?.call(),
            None => lit(ScalarValue::TimestampMicrosecond(None, Some("UTC".into()))),
        };
        columns.push(created.alias(CREATED));
        for field in &layout.content {
            columns.push(conform(&field.name, field.data_type)?.call().alias(&field.name));
        }
        Ok(columns)
    }
}

fn named(source: &str) -> String {
    format!("source \"{source}\"")
}
