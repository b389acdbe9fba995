//! Parquet files: their footers, and what can be wrong with them.

use std::{collections::BTreeMap, fmt::Display, fs::File, path::Path};

use datafusion::{
    datasource::physical_plan::parquet::metadata::DFParquetMetadata, error::DataFusionError,
    prelude::SessionContext,
};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    errors::ParquetError,
};

use super::errors::from_datafusion;
use crate::{
    error::{Context, Error, Result},
    storage::{Object, Storage, failed},
    value::int96_as_timestamp,
};

/// The footer of a file or object; the session keeps it, so that a scan does not read it again.
pub(super) async fn fetch_footer(
    context: &SessionContext,
    storage: &Storage,
    object: &Object,
) -> Result<ArrowReaderMetadata> {
    let (store, _) = storage.store(&object.location)?;
    let cache = context.runtime_env().cache_manager.get_file_metadata_cache();
    let footer = DFParquetMetadata::new(store.as_ref(), &object.meta)
        .with_file_metadata_cache(Some(cache))
        .fetch_metadata()
        .await;
    let footer = footer.map_err(|error| match error.find_root() {
        DataFusionError::ParquetError(error) => damaged(&object.location, error),
        DataFusionError::ObjectStore(error) => failed(&object.location, error),
        _ => from_datafusion(error).context(&object.location),
    })?;
    ArrowReaderMetadata::try_new(footer, ArrowReaderOptions::new())
        .and_then(int96_as_timestamp)
        .map_err(|error| damaged(&object.location, &error))
}

/// The footer of a file: its schema, its row groups, its metadata.
pub(super) fn read_footer(path: &Path) -> Result<ArrowReaderMetadata> {
    let file = File::open(path).context(|| format!("{} cannot be opened", path.display()))?;
    ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .and_then(int96_as_timestamp)
        .map_err(|error| damaged(path.display(), &error))
}

/// The error for a file that turns out not to be what was written.
pub(super) fn damaged(path: impl Display, error: &ParquetError) -> Error {
    let text = error.to_string();
    if text.contains("encrypt") {
        return Error::invalid(format!("{path} is encrypted, and there is no key to read it with"))
            .with_hint("write the file without encryption");
    }
    Error::corrupt(format!("{path} is no Parquet file, or was cut off or damaged: {text}"))
        .with_hint("write the file again; unskew never reads a part of a file")
}

/// The key-value metadata of a Parquet file. A key without a value is left out, and so is Arrow's
/// own copy of the schema.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is no such file, [`crate::error::Kind::Corrupt`]
/// when it is no Parquet file or a damaged one.
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    let footer = read_footer(path)?;
    let pairs = footer.metadata().file_metadata().key_value_metadata();
    let pairs = pairs.into_iter().flatten().filter(|pair| pair.key != "ARROW:schema");
    Ok(pairs.filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?))).collect())
}
