//! Entity rows in a training dataset that was made before.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;

use super::{
    data::{Batches, EntityData},
    parquet,
};
use crate::{
    error::Result,
    offline::{partitioned::rows_in_order, stream::from_blocking},
};

/// A dataset in a folder.
struct PartitionedData {
    folder: PathBuf,
    by: Vec<String>,
    schema: SchemaRef,
}

/// The dataset at a path, partitioned by these columns if it is a folder.
pub(super) fn open(path: &Path, by: &[String]) -> Result<Arc<dyn EntityData>> {
    if !path.is_dir() {
        return parquet::open(path);
    }
    let schema = rows_in_order(path, by)?.schema();
    Ok(Arc::new(PartitionedData { folder: path.to_owned(), by: by.to_vec(), schema }))
}

impl EntityData for PartitionedData {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn batches(&self, context: &Arc<TaskContext>) -> Batches {
        let (folder, by) = (self.folder.clone(), self.by.clone());
        let batch_size = context.session_config().batch_size();
        from_blocking(self.schema(), batch_size, move || rows_in_order(&folder, &by))
    }
}
