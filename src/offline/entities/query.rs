//! Entity rows of a query over the sources.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::{
    catalog::TableProvider,
    execution::{SessionState, TaskContext},
    physical_plan::execute_stream,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::data::{Batches, EntityData};
use crate::{
    error::Result,
    offline::{Period, Sources, errors::from_datafusion},
};

/// A query that was planned. It is computed in one order, as those of sources are.
struct QueryData {
    table: Arc<dyn TableProvider>,
    reads: Vec<String>,
    state: SessionState,
}

pub(super) async fn open(sql: &str, sources: &mut Sources) -> Result<Arc<dyn EntityData>> {
    let (table, reads) = sources.query("the query of entities", sql).await?;
    Ok(Arc::new(QueryData { table, reads, state: sources.context().state() }))
}

impl EntityData for QueryData {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn rows(&self) -> Option<u64> {
        None
    }

    fn period(&self, _: &str) -> Period {
        Period::ALL
    }

    fn sources(&self) -> &[String] {
        &self.reads
    }

    fn batches(&self, context: &Arc<TaskContext>) -> Batches {
        let (table, state) = (Arc::clone(&self.table), self.state.clone());
        let context = Arc::clone(context);
        let started = async move {
            let plan = table.scan(&state, None, &[], None).await?;
            execute_stream(plan, context)
        };
        stream::once(started).try_flatten().map_err(from_datafusion).boxed()
    }
}
