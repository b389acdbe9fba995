//! Which file is damaged, and where: a scan of many files fails without saying it.

use datafusion::datasource::{
    listing::PartitionedFile,
    physical_plan::parquet::{DefaultParquetFileReaderFactory, ParquetFileReaderFactory as _},
};
use futures::TryStreamExt as _;
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder, ProjectionMask, arrow_reader::ArrowReaderMetadata,
        async_reader::AsyncFileReader,
    },
    errors::ParquetError,
};

use super::{Sources, errors::from_datafusion, parquet_file::fetch_footer};
use crate::{
    error::{Error, Kind, Result},
    storage::Object,
};

impl Sources {
    /// The error of reading a source. Where it comes of damage and names no file, the files are read
    /// once more, a column of a row group at a time, and the first that cannot be read is named.
    pub async fn locate_damage(&self, source: &str, error: Error) -> Error {
        match self.objects([source]) {
            Ok(objects) => locate(self, objects, error).await,
            Err(_) => error,
        }
    }
}

/// As [`Sources::locate_damage`], for these files.
pub(super) async fn locate<'a>(
    sources: &Sources,
    objects: impl IntoIterator<Item = &'a Object>,
    error: Error,
) -> Error {
    let objects: Vec<&Object> = objects.into_iter().collect();
    let named = |object: &&Object| error.message().contains(&object.location.to_string());
    if error.kind() != Kind::Corrupt || objects.iter().any(named) {
        return error;
    }
    for object in objects {
        // A file that cannot be looked at now says nothing about the error.
        if let Ok(Some(damage)) = first_damage(sources, object).await {
            return damage;
        }
    }
    error
}

async fn first_damage(sources: &Sources, object: &Object) -> Result<Option<Error>> {
    let footer = fetch_footer(sources.context(), &sources.places().storage, object).await?;
    let schema = footer.metadata().file_metadata().schema_descr_ptr();
    let (store, _) = sources.places().storage.store(&object.location)?;
    let (readers, metrics) = (DefaultParquetFileReaderFactory::new(store), Default::default());
    for group in 0..footer.metadata().num_row_groups() {
        for (place, column) in schema.root_schema().get_fields().iter().enumerate() {
            let file = PartitionedFile::new_from_meta(object.meta.clone());
            let file = readers.create_reader(0, file, None, &metrics).map_err(from_datafusion)?;
            let columns = ProjectionMask::roots(&schema, [place]);
            if let Err(error) = read(file, footer.clone(), group, columns).await {
                let (file, column) = (&object.location, column.name());
                return Ok(Some(
                    Error::corrupt(format!(
                        "{file} is damaged, or encrypted: row group {group}, column \"{column}\": {error}"
                    ))
                    .with_hint("write the file again, without encryption"),
                ));
            }
        }
    }
    Ok(None)
}

/// Reads columns of a row group, and forgets them.
async fn read(
    file: Box<dyn AsyncFileReader>,
    footer: ArrowReaderMetadata,
    group: usize,
    columns: ProjectionMask,
) -> Result<(), ParquetError> {
    let rows = ParquetRecordBatchStreamBuilder::new_with_metadata(file, footer)
        .with_row_groups(vec![group])
        .with_projection(columns)
        .build()?;
    rows.try_for_each(async |_| Ok(())).await
}
