//! Training datasets in Hive's layout: a folder for every value of the columns they are partitioned
//! by, with a Parquet file in it.
//!
//! ```text
//! train/
//!   _manifest.json                what the dataset says of itself
//!   _order.parquet                the columns it is partitioned by, of all rows in their order
//!   country=DE/data.parquet       the other columns of the rows of this value, in their order
//!   country=__HIVE_DEFAULT_PARTITION__/data.parquet
//! ```
//! So the order of the rows is kept, and the content hash is that of the same rows in one file:
//! [`rows_in_order`] takes for every row of `_order.parquet` the next row of its partition. Readers of
//! Hive's layout pass over names that start with an underscore.

mod draft;
mod names;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::path::{Path, PathBuf};

pub(super) use read::rows_in_order;
pub(super) use write::write_partitioned;

/// The name of the manifest.
pub(super) const MANIFEST: &str = "_manifest.json";

/// The name of the file that has the order of the rows.
const ORDER: &str = "_order.parquet";

/// The name of the file of a partition.
const DATA: &str = "data.parquet";

/// The key of the names of all columns, in their order, in the metadata of [`ORDER`].
const COLUMNS: &str = "unskew.columns";

/// The file of a partition, by the names of its folders.
fn data_file(folder: &Path, partition: &str) -> PathBuf {
    folder.join(partition).join(DATA)
}
