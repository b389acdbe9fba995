//! The rows of an entity dataframe, read when they are asked for, in their order.

use std::{fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt64Array},
    datatypes::SchemaRef,
};
use datafusion::{
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{EntityDataframe, data::Batches};
use crate::{
    error::{Error, Result},
    offline::errors::external,
};

/// The rows.
pub(super) struct EntityRows(pub(super) EntityDataframe);

impl fmt::Debug for EntityRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EntityRows").field(&self.0.name).finish()
    }
}

impl PartitionStream for EntityRows {
    fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.0.data.batches(&context);
        let numbering = Numbering { dataframe: self.0.clone(), batches, place: 0, taken: 0 };
        let batches = stream::try_unfold(numbering, Numbering::next).map_err(external);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.0.schema), batches.boxed()))
    }
}

/// Rows on their way: how many were read, and how many of them taken.
struct Numbering {
    dataframe: EntityDataframe,
    batches: Batches,
    place: u64,
    taken: u64,
}

impl Numbering {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        while !self.dataframe.selection.is_complete(self.taken) {
            let Some(batch) = self.batches.try_next().await? else {
                break;
            };
            let numbered = self.number(&batch)?;
            self.place += batch.num_rows() as u64;
            self.taken += numbered.num_rows() as u64;
            if numbered.num_rows() > 0 {
                return Ok(Some((numbered, self)));
            }
        }
        Ok(None)
    }

    /// The rows of a batch that are taken, with their types and numbers.
    fn number(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let EntityDataframe { columns, schema, time, selection, .. } = &self.dataframe;
        self.refuse_null_times(batch.column(*time))?;
        let mut conformed = Vec::with_capacity(columns.len() + 1);
        for (place, values) in batch.columns().iter().enumerate() {
            conformed.push(self.dataframe.conform(place, values, self.place)?);
        }
        // Numbers of places, as long as all rows are there.
        let rows = self.place..self.place + batch.num_rows() as u64;
        conformed.push(Arc::new(UInt64Array::from_iter_values(rows)));
        let uneven = |error| Error::internal(format!("entity rows do not fit: {error}"));
        let all = RecordBatch::try_new(Arc::clone(schema), conformed).map_err(uneven)?;
        if selection.is_all() {
            return Ok(all);
        }
        let some = selection.take(&all, self.place, self.taken)?;
        let mut renumbered = some.columns().to_vec();
        let rows = self.taken..self.taken + some.num_rows() as u64;
        renumbered[columns.len()] = Arc::new(UInt64Array::from_iter_values(rows));
        RecordBatch::try_new(Arc::clone(schema), renumbered).map_err(uneven)
    }

    fn refuse_null_times(&self, times: &ArrayRef) -> Result<()> {
        let nulls = times.logical_nulls();
        let null = nulls.as_ref().and_then(|nulls| nulls.iter().position(|valid| !valid));
        let EntityDataframe { name, columns, time, .. } = &self.dataframe;
        match null {
            Some(row) => Err(Error::invalid(format!(
                "{name} has no time in row {}: {} is null there",
                self.place + row as u64,
                columns[*time],
            ))
            .with_hint("rows are counted from 0")),
            None => Ok(()),
        }
    }
}
