//! The rows of a Parquet file, or of a folder of them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
};

use crate::{
    error::{Context as _, Error, Result},
    value::parquet_reader,
};

/// Rows of a batch.
const ROWS: usize = 8_192;

/// Parquet files with rows for a comparison, in the order of their names.
#[derive(Debug)]
pub struct Data {
    files: Vec<PathBuf>,
    schema: SchemaRef,
}

impl Data {
    /// The file, or the files in the folder that end in `.parquet`.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) when there is none;
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) when the first is not Parquet.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = || path.display().to_string();
        let mut files = Vec::new();
        if path.is_dir() {
            for entry in fs::read_dir(path).context(shown)? {
                files.push(entry.context(shown)?.path());
            }
            files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
            files.sort();
        } else {
            files.push(path.to_owned());
        }
        let first = files
            .first()
            .ok_or_else(|| Error::not_found(format!("no Parquet file in {}", path.display())))?;
        let schema = builder(first)?.schema().clone();
        Ok(Self { files, schema })
    }

    /// The names of the columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.schema.fields().iter().map(|field| field.name().as_str())
    }

    /// The rows, in batches of these columns.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) when a file cannot be read as Parquet.
    pub fn batches<'a>(
        &'a self,
        columns: &'a [&str],
    ) -> impl Iterator<Item = Result<RecordBatch>> + 'a {
        let read = move |file: &'a PathBuf| -> Box<dyn Iterator<Item = Result<RecordBatch>>> {
            match reader(file, columns) {
                Err(error) => Box::new(std::iter::once(Err(error))),
                Ok(reader) => {
                    Box::new(reader.map(|batch| batch.map_err(|error| wrong(file, &error))))
                }
            }
        };
        self.files.iter().flat_map(read)
    }
}

fn reader(path: &Path, columns: &[&str]) -> Result<ParquetRecordBatchReader> {
    let builder = builder(path)?;
    let schema = builder.schema();
    let roots = columns.iter().filter_map(|name| schema.index_of(name).ok());
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let builder = builder.with_projection(mask).with_batch_size(ROWS);
    builder.build().map_err(|error| wrong(path, &error))
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).context(|| path.display().to_string())?;
    parquet_reader(file).map_err(|error| wrong(path, &error))
}

fn wrong(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("{} cannot be read: {error}", path.display()))
}
