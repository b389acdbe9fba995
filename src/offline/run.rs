//! One function over one Parquet file.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch};

use super::{
    BatchFunction, Content, Places, Progress, Resources, RowErrors, Sources, session,
    stream::stream, training_set::Collected, transform, write_parquet,
};
use crate::{
    definition::{About, Source, SourceData, Visible},
    error::{Error, Result},
    evaluate::Evaluation,
    value::Field,
};

/// The name of the file's table.
const INPUT: &str = "input";

/// A file that was run through a function.
#[derive(Debug)]
pub struct Ran {
    /// What was written.
    pub content: Content,
    /// Rows for which the function had no value.
    pub row_errors: RowErrors,
}

/// Runs the rows of a Parquet file, or of a folder of them, through a function, and writes them
/// with the function's outputs behind their columns to `output`, which is there only when it is
/// complete.
///
/// # Errors
/// Those of reading and writing; [`crate::error::Kind::Invalid`] when a column is missing, of
/// another type, or called as an output is.
pub async fn run_file(
    evaluation: Evaluation,
    input: &Path,
    output: &Path,
    resources: &Resources,
    progress: Progress,
) -> Result<Ran> {
    let source = Source {
        data: SourceData::Path(std::path::absolute(input)?.display().to_string()),
        timestamp: String::new(),
        created: None,
        visible: Visible::Event,
        about: About::default(),
    };
    let definitions = BTreeMap::from([(INPUT.to_owned(), source)]);
    // One partition: the rows come out in the order in which they stand in the file.
    let resources = Resources { partitions: 1, ..resources.clone() };
    let sources =
        Sources::open(session(&resources)?, Places::default(), &definitions, [INPUT]).await?;
    let rows = sources.context().table(INPUT).await.map_err(super::errors::from_datafusion)?;
    let function = Arc::new(FileFunction::new(evaluation));
    refuse_missing(&function.evaluation, &sources, input)?;
    let errors = function.errors.clone();
    let (rows, _) = stream(transform(rows, function)?, progress).await?;
    let content = write_parquet(rows, output, async |_| Ok(Vec::new())).await?;
    let row_errors = errors.take().into_values().next().unwrap_or_default();
    Ok(Ran { content, row_errors })
}

fn refuse_missing(evaluation: &Evaluation, sources: &Sources, input: &Path) -> Result<()> {
    let columns = sources.columns(INPUT)?;
    let has = |name: &str| columns.iter().any(|(column, _)| column == name);
    match evaluation.inputs().find(|(name, _)| !has(name)) {
        Some((name, data_type)) => {
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            Err(Error::invalid(format!(
                "{} has no column \"{name}\" ({data_type})",
                input.display()
            ))
            .with_hint(format!(
                "name the column with --column {name}=COLUMN; there are: {}",
                names.join(", ")
            )))
        }
        None => Ok(()),
    }
}

#[derive(Debug)]
struct FileFunction {
    evaluation: Evaluation,
    inputs: Vec<String>,
    errors: Collected,
}

impl FileFunction {
    fn new(evaluation: Evaluation) -> Self {
        let inputs = evaluation.inputs().map(|(name, _)| name.to_owned()).collect();
        Self { evaluation, inputs, errors: Collected::default() }
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
        self.errors.add(INPUT, &evaluated.errors);
        Ok(evaluated.columns)
    }
}
