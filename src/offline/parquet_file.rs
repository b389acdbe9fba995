//! Parquet files: their footers, and what can be wrong with them.

use std::{collections::BTreeMap, fs::File, path::Path};

use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    errors::ParquetError,
};

use crate::error::{Context, Error, Result};

/// The footer of a file: its schema, its row groups, its metadata.
pub(super) fn read_footer(path: &Path) -> Result<ArrowReaderMetadata> {
    let file = File::open(path).context(|| format!("{} cannot be opened", path.display()))?;
    ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .map_err(|error| damaged(path, &error))
}

/// The error for a file that turns out not to be what was written.
pub(super) fn damaged(path: &Path, error: &ParquetError) -> Error {
    Error::corrupt(format!(
        "{} is no Parquet file, or was cut off or damaged: {error}",
        path.display()
    ))
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
