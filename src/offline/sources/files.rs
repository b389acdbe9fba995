//! Parquet files and folders of them as tables.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::datatypes::Schema;
use datafusion::datasource::{
    file_format::parquet::ParquetFormat,
    listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl},
};

use super::Table;
use crate::{
    error::{Context, Error, Result},
    offline::{errors::from_datafusion, parquet_file::read_footer},
};

/// The file at `path`, or all files in the folder, as one table.
pub(super) fn open(path: &Path) -> Result<Table> {
    let path = fs::canonicalize(path).context(|| format!("{} cannot be read", path.display()))?;
    let mut files = BTreeSet::new();
    if path.is_dir() {
        collect(&path, &mut files).context(|| format!("{} cannot be read", path.display()))?;
        if files.is_empty() {
            return Err(Error::not_found(format!(
                "the folder {} has no Parquet files",
                path.display()
            ))
            .with_hint(
                "their names end in .parquet and do not start with a dot or an underscore",
            ));
        }
    } else {
        files.insert(path);
    }
    let schema = Arc::new(common_schema(&files)?);
    let urls = files.iter().map(|file| ListingTableUrl::parse(url(file)));
    let urls = urls.collect::<Result<Vec<_>, _>>().map_err(from_datafusion)?;
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(
            ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(""),
        )
        .with_schema(schema);
    let provider = Arc::new(ListingTable::try_new(config).map_err(from_datafusion)?);
    Ok(Table { provider, files })
}

fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if name.ends_with(".parquet") {
            files.insert(path);
        }
    }
    Ok(())
}

/// The columns of all files; a file may lack some, which are null in its rows.
fn common_schema(files: &BTreeSet<PathBuf>) -> Result<Schema> {
    let mut common = Schema::empty();
    for file in files {
        let schema = read_footer(file)?.schema().as_ref().clone().with_metadata(Default::default());
        common = Schema::try_merge([common, schema]).map_err(|error| {
            Error::invalid(format!("{} does not fit the files before it: {error}", file.display()))
        })?;
    }
    Ok(common)
}

/// The URL of a path, in which nothing is taken for a pattern.
fn url(path: &Path) -> String {
    let mut url = "file://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                url.push(char::from(*byte))
            }
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}
