//! Delta tables: the files of one version, scanned as any other Parquet files.
//!
//! The log is read by `deltalake-core`; what the table holds is then a list of files with the
//! values of their partition columns. A table that needs more than that of its readers is refused.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, StringArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, FieldRef, Schema},
};
use datafusion::{
    common::ScalarValue, execution::object_store::ObjectStoreUrl, prelude::SessionContext,
};
use deltalake_core::{
    DeltaTable, DeltaTableBuilder, DeltaTableError,
    kernel::{LogicalFileView, engine::arrow_conversion::TryIntoArrow as _},
    table::state::DeltaTableState,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{ObjectStore, prefix::PrefixStore};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::{
    DeltaVersion, Origin, Table,
    files::{FOOTERS_AT_ONCE, register},
    table::{ParquetTable, TableFile},
};
use crate::{
    error::{Error, Result},
    offline::{errors::from_datafusion, parquet_file::fetch_footer},
    storage::{Location, Object, Storage},
};

/// Reader features that ask nothing of whoever reads files as they are listed.
const HARMLESS: &[&str] = &["timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "typeWidening"];

/// Features that are allowed as long as no file makes use of them.
const UNUSED: &[&str] = &["deletionVectors", "columnMapping"];

/// A Delta table at a version, or at its newest.
pub(super) async fn open(
    context: &SessionContext,
    storage: &Storage,
    location: &Location,
    version: Option<u64>,
) -> Result<Table> {
    let (store, path) = storage.store(location)?;
    let table = load(Arc::new(PrefixStore::new(store, path)), version).await;
    let table = table.map_err(|error| failed(location, version, &error))?;
    let state = table.snapshot().map_err(|error| failed(location, version, &error))?;
    refuse_features(location, state)?;
    let views: Vec<LogicalFileView> = state.log_data().iter().collect();
    if let Some(view) = views.iter().find(|view| view.deletion_vector_descriptor().is_some()) {
        return Err(unsupported(location, &format!("deletionVectors, for {}", view.path())));
    }
    let files: Vec<_> = views.iter().map(|view| file(context, storage, location, view)).collect();
    let files = stream::iter(files).buffered(FOOTERS_AT_ONCE);
    let mut files: Vec<Listed> = files.try_collect().await?;
    files.sort_by(|one, other| one.object.location.cmp(&other.object.location));
    let (columns, partitions) = columns(location, state)?;
    let mut objects = Vec::with_capacity(files.len());
    let mut scanned = Vec::with_capacity(files.len());
    for Listed { object, footer, partition: given } in files {
        let values = partitions.iter().map(|column| {
            value(column, given.get(column.name()).and_then(Option::as_ref))
                .map_err(|error| error.context(&object.location))
        });
        let (meta, partition) = (object.meta.clone(), values.collect::<Result<_>>()?);
        scanned.push(TableFile { meta, footer, partition });
        objects.push(object);
    }
    let store = register(context, storage, location)?;
    let parquet = ParquetTable::try_new(store, Arc::new(columns), partitions, scanned);
    let parquet = Arc::new(parquet.map_err(from_datafusion)?);
    let version = DeltaVersion { location: location.clone(), version: state.version() };
    Ok(Table {
        provider: Arc::clone(&parquet) as _,
        origin: Origin::Files(objects, parquet, Some(version)),
    })
}

/// The table whose root is that of the store.
async fn load(
    store: Arc<dyn ObjectStore>,
    version: Option<u64>,
) -> Result<DeltaTable, DeltaTableError> {
    // The library only wants to see the store: where that is, is no business of its. Of this scheme
    // it expects no order of listings, which a folder does not have.
    let root = ObjectStoreUrl::local_filesystem();
    let root: &url::Url = root.as_ref();
    let builder =
        DeltaTableBuilder::from_url(root.clone())?.with_storage_backend(store, root.clone());
    match version {
        Some(version) => builder.with_version(version).load().await,
        None => builder.load().await,
    }
}

fn failed(location: &Location, version: Option<u64>, error: &DeltaTableError) -> Error {
    let version = version.map_or_else(String::new, |version| format!(" at version {version}"));
    Error::not_found(format!("the Delta table {location}{version} cannot be read: {error}"))
        .with_hint("the version that was asked for has to be in the table's _delta_log still")
}

/// A file that the log lists.
struct Listed {
    object: Object,
    footer: ArrowReaderMetadata,
    /// The values of its partition columns, as text.
    partition: BTreeMap<String, Option<String>>,
}

/// The file of an entry of the log.
async fn file(
    context: &SessionContext,
    storage: &Storage,
    table: &Location,
    view: &LogicalFileView,
) -> Result<Listed> {
    let path = view.path();
    if path.contains("://") || path.starts_with('/') {
        return Err(unsupported(table, &format!("files elsewhere, as {path}")));
    }
    let location = path.split('/').fold(table.clone(), |place, part| place.join(part));
    let object = storage.find(&location).await?.ok_or_else(|| {
        Error::not_found(format!("the Delta table {table} lists {location}, which does not exist"))
            .with_hint("vacuum removes the files of old versions")
    })?;
    if object.meta.size != view.size().unsigned_abs() {
        return Err(Error::corrupt(format!(
            "the Delta table {table} lists {location} with {} bytes, and it has {}",
            view.size(),
            object.meta.size
        )));
    }
    let footer = fetch_footer(context, storage, &object).await?;
    Ok(Listed { object, footer, partition: view.partition_values_map().into_iter().collect() })
}

/// Refuses a table that cannot be read by its files alone.
fn refuse_features(location: &Location, state: &DeltaTableState) -> Result<()> {
    let json = |value: std::result::Result<serde_json::Value, serde_json::Error>| {
        value.map_err(|error| Error::internal(format!("no JSON of a Delta table: {error}")))
    };
    let protocol = json(serde_json::to_value(state.protocol()))?;
    let features = protocol["readerFeatures"].as_array().into_iter().flatten();
    let mut needed = features.filter_map(serde_json::Value::as_str);
    if let Some(feature) = needed.find(|name| !HARMLESS.contains(name) && !UNUSED.contains(name)) {
        return Err(unsupported(location, feature));
    }
    let metadata = json(serde_json::to_value(state.metadata()))?;
    match metadata["configuration"]["delta.columnMapping.mode"].as_str() {
        None | Some("none") => Ok(()),
        Some(mode) => Err(unsupported(location, &format!("columnMapping, by {mode}"))),
    }
}

fn unsupported(location: &Location, feature: &str) -> Error {
    Error::invalid(format!(
        "the Delta table {location} cannot be read: it needs the reader feature {feature}"
    ))
    .with_hint("write the table without it: a copy of the table has plain files")
}

/// The columns that are in the files, and those that are values of the log.
fn columns(location: &Location, state: &DeltaTableState) -> Result<(Schema, Vec<FieldRef>)> {
    let schema: Schema = state.schema().as_ref().try_into_arrow().map_err(|error| {
        Error::invalid(format!("the Delta table {location} has no Arrow schema: {error}"))
    })?;
    let named = state.metadata().partition_columns();
    let nullable =
        |field: &FieldRef| Arc::new(Field::new(field.name(), field.data_type().clone(), true));
    let fields = schema.fields().iter().map(nullable);
    let (partitions, columns): (Vec<_>, Vec<_>) =
        fields.partition(|field| named.contains(field.name()));
    Ok((Schema::new(columns), partitions))
}

/// A value of the log: text, whatever its type; empty text is null.
fn value(column: &FieldRef, text: Option<&String>) -> Result<ScalarValue> {
    let text = text.filter(|text| !text.is_empty());
    let array: ArrayRef = Arc::new(StringArray::from(vec![text.map(String::as_str)]));
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let typed = match column.data_type() {
        DataType::Utf8 => Ok(array),
        data_type => cast_with_options(&array, data_type, &strict),
    };
    let typed = typed.map_err(|error| {
        Error::corrupt(format!("partition column \"{}\": {error}", column.name()))
    })?;
    ScalarValue::try_from_array(&typed, 0).map_err(from_datafusion)
}
