//! One pass over the feature rows of a view, in parallel: which of them which entity row can see.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::{
    common::{Result, exec_err, internal_err},
    error::DataFusionError,
    execution::{SendableRecordBatchStream, SpillFile, TaskContext},
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties, execution_plan::reset_plan_states, metrics::Time,
        spill::SpillManager,
    },
};
use futures::StreamExt;
use tokio::{sync::mpsc, task::JoinSet};

use super::{JoinSpec, index::EntityIndex, keys::NO_KEY, winners::Arrivals};
use crate::{definition::Visible, offline::operator::take_columns};

/// The feature rows of a view: as they come from its source, or on the disk once they have been
/// read and will be read again.
pub(super) struct FeatureRows {
    spec: Arc<JoinSpec>,
    input: Input,
    spills: SpillManager,
}

enum Input {
    Plan(Arc<dyn ExecutionPlan>),
    Files(Vec<Arc<dyn SpillFile>>),
}

/// A pass under way.
pub(super) struct Pass {
    /// What comes of it, in no order.
    pub(super) arrivals: mpsc::Receiver<Arrivals>,
    tasks: JoinSet<Result<Option<Arc<dyn SpillFile>>>>,
    is_kept: bool,
}

impl FeatureRows {
    pub(super) fn new(
        spec: Arc<JoinSpec>,
        plan: Arc<dyn ExecutionPlan>,
        spills: SpillManager,
    ) -> Self {
        Self { spec, input: Input::Plan(plan), spills }
    }

    pub(super) fn spec(&self) -> &Arc<JoinSpec> {
        &self.spec
    }

    /// Begins a pass over all rows. With `keep`, the next one will read them from the disk.
    pub(super) fn pass(
        &self,
        index: &Arc<EntityIndex>,
        keep: bool,
        context: &Arc<TaskContext>,
        time: &Time,
    ) -> Result<Pass> {
        let inputs: Vec<SendableRecordBatchStream> = match &self.input {
            Input::Plan(plan) => {
                let partitions = 0..plan.output_partitioning().partition_count();
                partitions
                    .map(|part| plan.execute(part, Arc::clone(context)))
                    .collect::<Result<_>>()?
            }
            Input::Files(files) => {
                let read = |file: &Arc<_>| self.spills.read_spill_as_stream(Arc::clone(file), None);
                files.iter().map(read).collect::<Result<_>>()?
            }
        };
        let is_kept = keep && matches!(self.input, Input::Plan(_));
        let (sender, arrivals) = mpsc::channel(2 * inputs.len().max(1));
        let mut tasks = JoinSet::new();
        for rows in inputs {
            let spills = is_kept.then(|| self.spills.clone());
            let probe = Probe {
                spec: Arc::clone(&self.spec),
                index: Arc::clone(index),
                time: time.clone(),
            };
            tasks.spawn(probe.run(rows, spills, sender.clone()));
        }
        Ok(Pass { arrivals, tasks, is_kept })
    }

    /// Ends a pass of which all is wanted that came of it.
    pub(super) async fn end(&mut self, mut pass: Pass) -> Result<()> {
        // Where not all was taken, what is still to come is read for the disk alone.
        pass.arrivals.close();
        let mut files = Vec::new();
        while let Some(task) = pass.tasks.join_next().await {
            files.extend(task.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??);
        }
        if pass.is_kept {
            self.input = Input::Files(files);
        }
        Ok(())
    }

    /// Makes that a pass can begin although another was not ended.
    pub(super) fn reset(&mut self) -> Result<()> {
        if let Input::Plan(plan) = &mut self.input {
            *plan = reset_plan_states(Arc::clone(plan))?;
        }
        Ok(())
    }
}

/// Finds the places of feature rows.
struct Probe {
    spec: Arc<JoinSpec>,
    index: Arc<EntityIndex>,
    time: Time,
}

impl Probe {
    async fn run(
        self,
        mut rows: SendableRecordBatchStream,
        spills: Option<SpillManager>,
        arrivals: mpsc::Sender<Arrivals>,
    ) -> Result<Option<Arc<dyn SpillFile>>> {
        let file = spills.map(|spills| spills.create_in_progress_file("feature rows"));
        let mut file = file.transpose()?;
        while let Some(batch) = rows.next().await.transpose()? {
            let timer = self.time.timer();
            if let Some(file) = &mut file {
                file.append_batch(&batch)?;
            }
            let found = match arrivals.is_closed() {
                true => None,
                false => self.find(&batch)?,
            };
            timer.done();
            if let Some(found) = found {
                // Nobody listens any more where memory is short; the file is wanted all the same.
                let _ = arrivals.send(found).await;
            }
            if arrivals.is_closed() && file.is_none() {
                break;
            }
        }
        match &mut file {
            Some(file) => file.finish(),
            None => Ok(None),
        }
    }

    /// The rows that an entity row can see, and the places where they are first seen; none at a
    /// place of which they are too old for.
    fn find(&self, batch: &RecordBatch) -> Result<Option<Arrivals>> {
        let layout = &self.spec.layout;
        let mut columns = take_columns(batch, layout.columns().iter().map(|column| &column.name))?;
        let content = columns.split_off(layout.keys.len());
        let keys = self.index.keys().find(&columns)?;
        let (events, created) = (times(&content[0])?, times(&content[1])?);
        if events.null_count() > 0 {
            return exec_err!("{} feature rows have no event time", events.null_count());
        }
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        for (row, key) in keys.into_iter().enumerate().filter(|(_, key)| *key != NO_KEY) {
            let event = events.value(row);
            let visible = match self.spec.visible {
                Visible::Created if created.is_valid(row) => event.max(created.value(row)),
                _ => event,
            };
            let place = self.index.seek(key, visible);
            // The entity rows behind the place are later still: what is too old there, is to them.
            let place = place.filter(|place| event >= self.spec.oldest(self.index.time(*place)));
            if let Some(place) = place {
                rows.push(row as u32);
                places.push(place as u32);
            }
        }
        Ok((!rows.is_empty()).then_some(Arrivals { columns: content, rows, places }))
    }
}

fn times(column: &ArrayRef) -> Result<&arrow::array::TimestampMicrosecondArray> {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => Ok(times),
        None => internal_err!("times of type {}", column.data_type()),
    }
}
