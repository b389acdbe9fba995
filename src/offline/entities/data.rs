//! What an entity dataframe is read from, as far as the rest has to know.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::execution::TaskContext;
use futures::stream::BoxStream;

use crate::{error::Result, offline::Period};

/// Batches of rows, in their order.
pub(super) type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Rows in a file or of a query; what is wrong with them is said with the name of the file.
pub(super) trait EntityData: Send + Sync {
    /// The columns as they are there.
    fn schema(&self) -> SchemaRef;

    /// How many rows there are, where that is known.
    fn rows(&self) -> Option<u64> {
        None
    }

    /// The period that the times in a column are in, as far as it is known.
    fn period(&self, _column: &str) -> Period {
        Period::ALL
    }

    /// The sources that the rows are of.
    fn sources(&self) -> &[String] {
        &[]
    }

    /// The rows, read once more.
    fn batches(&self, context: &Arc<TaskContext>) -> Batches;
}
