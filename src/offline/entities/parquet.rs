//! Entity rows in a Parquet file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::{max, min},
    datatypes::{SchemaRef, TimestampMicrosecondType},
};
use datafusion::execution::TaskContext;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parquet::arrow::{
    ParquetRecordBatchStreamBuilder,
    arrow_reader::{ArrowReaderMetadata, statistics::StatisticsConverter},
};

use super::data::{Batches, EntityData};
use crate::{
    error::{Context, Error, Result},
    offline::{
        Period,
        parquet_file::{damaged, read_footer},
    },
    time::Timestamp,
    value::{DataType, conform},
};

/// A file whose footer has been read.
struct ParquetData {
    path: PathBuf,
    footer: ArrowReaderMetadata,
}

pub(super) fn open(path: &Path) -> Result<Arc<dyn EntityData>> {
    Ok(Arc::new(ParquetData { path: path.to_owned(), footer: read_footer(path)? }))
}

impl EntityData for ParquetData {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.footer.schema())
    }

    fn rows(&self) -> Option<u64> {
        Some(self.footer.metadata().file_metadata().num_rows().unsigned_abs())
    }

    fn period(&self, column: &str) -> Period {
        self.extremes(column).unwrap_or(Period::ALL)
    }

    fn batches(&self, context: &Arc<TaskContext>) -> Batches {
        let (path, footer) = (self.path.clone(), self.footer.clone());
        let batch_size = context.session_config().batch_size();
        let opened = async move {
            let file = tokio::fs::File::open(&path).await.context(|| path.display().to_string())?;
            let reader = ParquetRecordBatchStreamBuilder::new_with_metadata(file, footer)
                .with_batch_size(batch_size)
                .build()
                .map_err(|error| damaged(path.display(), &error))?;
            Ok::<_, Error>(reader.map_err(move |error| damaged(path.display(), &error)))
        };
        stream::once(opened).try_flatten().boxed()
    }
}

impl ParquetData {
    /// The first and the last time, where the statistics of the row groups have them.
    fn extremes(&self, column: &str) -> Option<Period> {
        let file = self.footer.metadata();
        let column = StatisticsConverter::try_new(
            column,
            self.footer.schema(),
            file.file_metadata().schema_descr(),
        )
        .ok()?;
        let known = |extremes: ArrayRef| {
            let extremes = conform(&extremes, DataType::Timestamp).ok()?;
            let complete = extremes.null_count() == 0;
            complete.then(|| extremes.as_primitive::<TimestampMicrosecondType>().clone())
        };
        let from = known(column.row_group_mins(file.row_groups()).ok()?)?;
        let to = known(column.row_group_maxes(file.row_groups()).ok()?)?;
        Some(Period { from: min(&from).map(Timestamp), to: max(&to).map(Timestamp) })
    }
}
