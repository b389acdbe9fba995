//! The join at work: part of the entity rows after part, each with all views.
//!
//! All entity rows are one part where memory allows it. Where it does not, the feature rows are
//! read once and kept on the disk, and every part passes over them there.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use arrow::{
    array::{Array, RecordBatch},
    datatypes::SchemaRef,
};
use datafusion::{
    common::{Result, exec_err, runtime::SpawnedTask},
    error::DataFusionError,
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation},
    },
    physical_plan::metrics::{
        BaselineMetrics, Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder, RecordOutput,
    },
};
use futures::{StreamExt, stream, stream::BoxStream};

use super::{
    JoinSpec,
    index::{EntityIndex, IndexBuilder},
    scan::FeatureRows,
    winners::{Matches, Winners},
};
use crate::{
    offline::{explain::MEMORY, feature_rows::take_times, operator::take_columns},
    value::DataType,
};

/// The most entity rows of a part: their places are numbers of 32 bits.
const PART_ROWS: usize = 1 << 31;

/// The join at work.
pub(super) struct Join {
    entities: SendableRecordBatchStream,
    /// A batch that was read and is in no part yet.
    ahead: Option<RecordBatch>,
    /// Parts that were put off because a greater one did not fit into memory.
    waiting: VecDeque<Part>,
    views: Vec<FeatureRows>,
    /// The batches of the part that was joined.
    joined: Option<BoxStream<'static, Result<RecordBatch>>>,
    schema: SchemaRef,
    context: Arc<TaskContext>,
    memory: MemoryReservation,
    /// Why the last part that did not fit into memory did not.
    refused: Option<DataFusionError>,
    metrics: JoinMetrics,
}

/// What the operator tells of itself beside the usual.
pub(super) struct JoinMetrics {
    baseline: BaselineMetrics,
    parts: Count,
    matched: Count,
    memory: Gauge,
}

impl JoinMetrics {
    pub(super) fn new(metrics: &ExecutionPlanMetricsSet) -> Self {
        Self {
            baseline: BaselineMetrics::new(metrics, 0),
            parts: MetricBuilder::new(metrics).counter("parts", 0),
            matched: MetricBuilder::new(metrics).counter("matched_rows", 0),
            memory: MetricBuilder::new(metrics).gauge(MEMORY, 0),
        }
    }
}

/// Some of the entity rows, in their order.
#[derive(Default)]
struct Part {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Part {
    fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
    }

    /// Both halves; the second is empty where there is only one row.
    fn halves(self) -> [Self; 2] {
        let mut halves = [Self::default(), Self::default()];
        match self.batches.as_slice() {
            [one] => {
                let half = one.num_rows().div_ceil(2);
                halves[0].push(one.slice(0, half));
                halves[1].push(one.slice(half, one.num_rows() - half));
            }
            _ => {
                let half = self.batches.len() / 2;
                for (number, batch) in self.batches.into_iter().enumerate() {
                    halves[usize::from(number >= half)].push(batch);
                }
            }
        }
        halves
    }
}

impl Join {
    pub(super) fn new(
        entities: SendableRecordBatchStream,
        views: Vec<FeatureRows>,
        schema: SchemaRef,
        context: Arc<TaskContext>,
        metrics: JoinMetrics,
    ) -> Self {
        let memory = MemoryConsumer::new("PointInTimeJoinExec").register(context.memory_pool());
        Self {
            entities,
            ahead: None,
            waiting: VecDeque::new(),
            views,
            joined: None,
            schema,
            context,
            memory,
            refused: None,
            metrics,
        }
    }

    /// The next batch, and the join that goes on after it.
    pub(super) async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            if let Some(joined) = &mut self.joined {
                if let Some(batch) = joined.next().await.transpose()? {
                    return Ok(Some((batch.record_output(&self.metrics.baseline), self)));
                }
                self.joined = None;
            }
            let Some(part) = self.part().await? else {
                return Ok(None);
            };
            match self.join(&part).await? {
                Some(views) => self.joined = Some(self.give(part, views)),
                None => self.put_off(part)?,
            }
        }
    }

    /// The next part, as large as memory seems to allow.
    async fn part(&mut self) -> Result<Option<Part>> {
        if let Some(part) = self.waiting.pop_front() {
            return Ok(Some(part));
        }
        let most = match self.context.memory_pool().memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / 4 * 3,
            _ => usize::MAX,
        };
        let row = self.bytes_of_a_row();
        let mut part = Part::default();
        self.ahead.take().into_iter().for_each(|batch| part.push(batch));
        while let Some(batch) = self.entities.next().await.transpose()? {
            let bytes = part.bytes + batch.get_array_memory_size();
            let rows = part.rows + batch.num_rows();
            let is_full = bytes.saturating_add(rows * row) > most || !self.fits(bytes);
            if part.rows > 0 && (is_full || rows > PART_ROWS) {
                self.ahead = Some(batch);
                break;
            }
            part.push(batch);
        }
        Ok((part.rows > 0).then_some(part))
    }

    /// About what joining takes for an entity row, beside its own columns: its place in an index,
    /// and, of every view, a feature row.
    fn bytes_of_a_row(&self) -> usize {
        let width = |data_type: DataType| data_type.to_arrow().primitive_width().unwrap_or(40);
        let view = |view: &FeatureRows| -> usize {
            view.spec().layout.content.iter().map(|field| width(field.data_type)).sum()
        };
        52 + self.views.iter().map(|rows| 28 + view(rows)).sum::<usize>()
    }

    /// Whether so many bytes can be had in memory, beside those of the parts that wait.
    fn fits(&mut self, bytes: usize) -> bool {
        let waiting: usize = self.waiting.iter().map(|part| part.bytes).sum();
        self.metrics.memory.set_max(waiting + bytes);
        match self.memory.try_resize(waiting + bytes) {
            Ok(()) => true,
            Err(error) => {
                self.refused = Some(error);
                false
            }
        }
    }

    /// What the views give the rows of a part; `None` where that does not fit into memory.
    async fn join(&mut self, part: &Part) -> Result<Option<Vec<Matches>>> {
        self.metrics.parts.add(1);
        let mut matches: Vec<Option<Matches>> = self.views.iter().map(|_| None).collect();
        // One index after the other, each for all views with its keys.
        let mut by_keys: Vec<usize> = (0..self.views.len()).collect();
        by_keys.sort_by_key(|view| self.views[*view].spec().layout.keys.keys().collect::<Vec<_>>());
        let same = |one: &usize, other: &usize| {
            let spec = |view: &usize| self.views[*view].spec();
            spec(one).layout.keys == spec(other).layout.keys && spec(one).time == spec(other).time
        };
        let groups: Vec<Vec<usize>> = by_keys.chunk_by(same).map(<[usize]>::to_vec).collect();
        for group in groups {
            let spec = Arc::clone(self.views[group[0]].spec());
            let index = Arc::new(self.index(part, &spec)?);
            for view in group {
                let given: usize = matches.iter().flatten().map(Matches::bytes).sum();
                let others = part.bytes + given + index.bytes();
                let Some(found) = self.scan(view, &index, (part.rows, others)).await? else {
                    return Ok(None);
                };
                self.metrics.matched.add(found.matched);
                matches[view] = Some(found);
            }
        }
        Ok(Some(matches.into_iter().flatten().collect()))
    }

    fn index(&self, part: &Part, spec: &JoinSpec) -> Result<EntityIndex> {
        let _timer = self.metrics.baseline.elapsed_compute().timer();
        let mut index = IndexBuilder::new(spec.layout.keys.values().copied())?;
        for batch in &part.batches {
            let times = take_times(batch, &spec.time)?;
            if times.null_count() > 0 {
                return exec_err!("{} entity rows have no time", times.null_count());
            }
            index.add(&take_columns(batch, spec.layout.keys.keys())?, &times)?;
        }
        Ok(index.finish())
    }

    /// One pass over the rows of a view, for so many entity rows, beside so many bytes.
    async fn scan(
        &mut self,
        view: usize,
        index: &Arc<EntityIndex>,
        (rows, others): (usize, usize),
    ) -> Result<Option<Matches>> {
        let keep = self.ahead.is_some() || !self.waiting.is_empty();
        let time = self.metrics.baseline.elapsed_compute().clone();
        let mut winners = Winners::new(Arc::clone(self.views[view].spec()), index.len())?;
        let mut fits = self.fits(others + winners.bytes());
        let mut pass = self.views[view].pass(index, keep, &self.context, &time)?;
        while fits && let Some(arrivals) = pass.arrivals.recv().await {
            let timer = time.timer();
            winners.arrive(arrivals)?;
            timer.done();
            fits = self.fits(others + winners.bytes());
        }
        self.views[view].end(pass).await?;
        match fits {
            true => {
                let _timer = time.timer();
                winners.finish(index, rows).map(Some)
            }
            false => Ok(None),
        }
    }

    /// Puts the halves of a part that did not fit in front of those that wait.
    fn put_off(&mut self, part: Part) -> Result<()> {
        let [first, second] = part.halves();
        if second.rows == 0 {
            return Err(self.refused.take().unwrap_or_else(|| {
                DataFusionError::ResourcesExhausted("an entity row takes too much memory".into())
            }));
        }
        self.waiting.push_front(second);
        self.waiting.push_front(first);
        self.views.iter_mut().try_for_each(FeatureRows::reset)
    }

    /// The batches of a part with what the views give them, made side by side, in order.
    fn give(&self, part: Part, views: Vec<Matches>) -> BoxStream<'static, Result<RecordBatch>> {
        let mut next = 0;
        let batches = part.batches.into_iter().map(move |batch| {
            let rows = next..next + batch.num_rows();
            next = rows.end;
            (batch, rows)
        });
        let views = Arc::new(views);
        let (schema, time) =
            (Arc::clone(&self.schema), self.metrics.baseline.elapsed_compute().clone());
        let tasks = stream::iter(batches).map(move |(batch, rows)| {
            let (views, schema, time) = (Arc::clone(&views), Arc::clone(&schema), time.clone());
            let task = SpawnedTask::spawn(async move {
                let _timer = time.timer();
                gather(&batch, &views, rows, schema)
            });
            task.join()
        });
        let partitions = self.context.session_config().target_partitions();
        let joined = tasks.buffered(partitions);
        joined
            .map(|batch| batch.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?)
            .boxed()
    }
}

/// A batch of entity rows with what the views give them.
fn gather(
    batch: &RecordBatch,
    views: &[Matches],
    rows: Range<usize>,
    schema: SchemaRef,
) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    for view in views {
        columns.extend(view.gather(rows.clone())?);
    }
    Ok(RecordBatch::try_new(schema, columns)?)
}
