//! The rows of files, run through a function, in their order.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::SchemaRef,
};
use datafusion::{
    common::runtime::SpawnedTask,
    error::{DataFusionError, Result as EngineResult},
    execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use tokio::sync::mpsc;

use super::INPUT;
use crate::{
    error::Result,
    evaluate::Evaluation,
    offline::{
        BatchFunction, Progress, RowErrors, Sources,
        errors::{external, from_datafusion},
        sources::Piece,
        stream::stream as batches_of,
        transform,
    },
    value::Field,
};

/// How many batches of a piece are there before somebody takes them.
const BATCHES_AHEAD: usize = 16;

/// Files that were opened, and the function for their rows.
pub(super) struct Opened {
    pub(super) sources: Sources,
    evaluation: Arc<Evaluation>,
    /// The columns of the files and the outputs of the function.
    pub(super) schema: SchemaRef,
}

/// Rows for which the function had no value, collected while batches are computed side by side.
#[derive(Debug, Clone, Default)]
pub(super) struct Errors(Arc<Mutex<RowErrors>>);

impl Errors {
    pub(super) fn take(&self) -> RowErrors {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Opened {
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when a file has a column that is called as an output is.
    pub(super) async fn new(sources: Sources, evaluation: Evaluation) -> Result<Self> {
        let evaluation = Arc::new(evaluation);
        let function = FileFunction::new(&evaluation, Errors::default());
        let table = sources.context().table(INPUT).await.map_err(from_datafusion)?;
        let rows = transform(table, Arc::new(function))?;
        let schema = Arc::clone(rows.schema().inner());
        Ok(Self { sources, evaluation, schema })
    }
}

/// The rows of pieces, one piece after the other, with the outputs of the function; up to `ahead`
/// pieces are read and computed side by side. The errors are complete when the rows have ended.
pub(super) fn rows(
    opened: &Arc<Opened>,
    pieces: Vec<Piece>,
    ahead: usize,
    progress: Progress,
) -> Result<(SendableRecordBatchStream, Errors)> {
    let errors = Errors::default();
    let (from, into) = (Arc::clone(opened), errors.clone());
    let rows = stream::iter(pieces)
        .map(move |piece| future::ready(one(Arc::clone(&from), piece, into.clone())))
        .buffered(ahead.max(1))
        .flatten()
        .inspect_ok(move |batch: &RecordBatch| progress(batch.num_rows() as u64));
    let rows = RecordBatchStreamAdapter::new(Arc::clone(&opened.schema), rows);
    Ok((Box::pin(rows), errors))
}

/// The rows of a piece, which are computed from now on.
fn one(
    opened: Arc<Opened>,
    piece: Piece,
    errors: Errors,
) -> impl Stream<Item = EngineResult<RecordBatch>> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let task = SpawnedTask::spawn(async move { compute(&opened, &piece, errors, sender).await });
    stream::unfold((receiver, Some(task)), |(mut receiver, mut task)| async move {
        if let Some(batch) = receiver.recv().await {
            return Some((Ok(batch), (receiver, task)));
        }
        let ended = match task.take()?.join_unwind().await {
            Ok(outcome) => outcome,
            Err(error) => Err(DataFusionError::ExecutionJoin(Box::new(error))),
        };
        ended.err().map(|error| (Err(error), (receiver, None)))
    })
}

/// Sends the batches of a piece, as long as somebody takes them.
async fn compute(
    opened: &Opened,
    piece: &Piece,
    errors: Errors,
    sender: mpsc::Sender<RecordBatch>,
) -> EngineResult<()> {
    let function = Arc::new(FileFunction::new(&opened.evaluation, errors));
    let rows = opened.sources.rows_of_piece(INPUT, piece);
    let rows = rows.and_then(|rows| transform(rows, function)).map_err(external)?;
    let (mut batches, _) = batches_of(rows, Arc::new(|_| {})).await.map_err(external)?;
    while let Some(batch) = batches.try_next().await? {
        if sender.send(batch).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[derive(Debug)]
struct FileFunction {
    evaluation: Arc<Evaluation>,
    inputs: Vec<String>,
    errors: Errors,
}

impl FileFunction {
    fn new(evaluation: &Arc<Evaluation>, errors: Errors) -> Self {
        let inputs = evaluation.inputs().map(|(name, _)| name.to_owned()).collect();
        Self { evaluation: Arc::clone(evaluation), inputs, errors }
    }
}

impl BatchFunction for FileFunction {
    fn name(&self) -> &str {
        "function"
    }

    fn inputs(&self) -> &[String] {
        &self.inputs
    }

    fn outputs(&self) -> &[Field] {
        self.evaluation.fields()
    }

    fn run(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let evaluated = self.evaluation.run(batch)?;
        if !evaluated.errors.is_empty() {
            let mut errors = self.errors.0.lock().unwrap_or_else(PoisonError::into_inner);
            errors.add(&evaluated.errors);
        }
        Ok(evaluated.columns)
    }
}
