//! One function over Parquet files: into one file, or into a folder with a part for each file.

mod parts;
mod record;
mod rows;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{
    parts::part_path,
    record::Identity,
    rows::{Opened, rows},
};
use super::{
    Content, Places, Progress, Resources, RowErrors, Sources,
    damage::locate,
    inputs::{refuse_changed, refuse_output},
    session,
    sources::{Piece, would_take},
    write_parquet,
};
use crate::{
    definition::{About, Source, SourceData, Visible, fingerprint::RuntimeRef},
    digest::Digest,
    error::{Context as _, Error, Result},
    evaluate::{Binding, Evaluation},
    storage::{Location, Object},
    wasm::Transform,
};

/// The name of the files' table.
const INPUT: &str = "input";

/// A function, and how it is put to use.
#[derive(Debug, Clone)]
pub struct Function {
    /// The transform that has it.
    pub transform: Arc<Transform>,
    /// Its name, and what it is given.
    pub binding: Binding,
    /// The runtime that the transform was loaded into.
    pub runtime: RuntimeRef,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The function.
    pub function: Function,
    /// The Parquet files: a file, a folder, a pattern or a Delta table, by path or URL.
    pub input: String,
    /// The file or the folder to write.
    pub output: PathBuf,
    /// How many rows at the most, the first ones; without it, all.
    pub limit: Option<u64>,
}

/// Files that were found, and can be run through a function.
pub struct Run {
    opened: Arc<Opened>,
    identity: Identity,
    /// The files of which rows are wanted.
    inputs: Vec<Input>,
    output: PathBuf,
    /// The folder that the inputs are in, where the output is a folder too.
    base: Option<Location>,
}

/// A file, and what is wanted of it.
struct Input {
    object: Object,
    pieces: Vec<Piece>,
    /// How many rows, where not all of them are wanted.
    limit: Option<u64>,
}

/// What was written.
#[derive(Debug)]
pub struct Ran {
    /// How many rows.
    pub rows: u64,
    /// Of a file, the hash of its rows; of a folder, that of its parts' names and hashes.
    pub hash: Digest,
    /// Rows for which the function had no value.
    pub row_errors: RowErrors,
    /// Of a folder: how many parts were made, and how many were there already.
    pub parts: Option<(usize, usize)>,
}

impl Run {
    /// Finds the files, and checks that the function can be run over them.
    ///
    /// The output is a folder, with one part for each file of the input, where it is a folder
    /// already, or where the input is not a single file and the output's name does not end in
    /// `.parquet`.
    ///
    /// # Errors
    /// Those of opening a source; [`crate::error::Kind::Invalid`] when a column is missing, of
    /// another type, or called as an output is; [`crate::error::Kind::Conflict`] when the output
    /// would replace an input, or the next run would read it.
    pub async fn find(request: RunRequest, places: Places, resources: &Resources) -> Result<Self> {
        let location = Location::parse(&request.input, &places.folder)?;
        let identity = Identity::of(&request.function, location.relative_to(&places.folder));
        let context = session(resources)?;
        // A piece of a file is read in one partition, so that its rows stay in order.
        context.state_ref().write().config_mut().options_mut().optimizer.repartition_file_scans =
            false;
        let definitions = BTreeMap::from([(INPUT.to_owned(), source(&request.input))]);
        let mut sources = Sources::new(context, places, definitions);
        sources.open([INPUT]).await.map_err(|error| unnamed(&error))?;
        let evaluation = Evaluation::new(request.function.transform, &request.function.binding)?;
        refuse_missing(&evaluation, &sources, &request.input)?;
        let files = sources.pieces(INPUT).await?;
        let single = matches!(files.as_slice(), [(only, _)] if only.location == location);
        let folder = request.output.is_dir()
            || !single && request.output.extension().is_none_or(|extension| extension != "parquet");
        let base = if folder { Some(super::sources::base(&location)?) } else { None };
        refuse_output(&request.output, files.iter().map(|(object, _)| object))?;
        if !single {
            refuse_within(&location, &request.output, base.as_ref(), &files)?;
        }
        refuse_taken(&evaluation, &sources, &request.input)?;
        let opened = Arc::new(Opened::new(sources, evaluation).await?);
        let inputs = inputs(files, request.limit);
        Ok(Self { opened, identity, inputs, output: request.output, base })
    }

    /// How many rows will be written.
    pub fn rows(&self) -> u64 {
        self.inputs.iter().flat_map(|input| &input.pieces).map(|piece| piece.rows).sum()
    }

    /// How many files are read.
    pub fn files(&self) -> usize {
        self.inputs.len()
    }

    /// Runs the rows through the function, and writes them with the function's outputs behind their
    /// columns. A file is there only when it is complete; of a folder, those parts are kept that
    /// are complete already. `progress` is told of rows as they are done.
    ///
    /// # Errors
    /// Those of reading and writing; [`crate::error::Kind::Conflict`] when a file that is read
    /// changes meanwhile; [`crate::error::Kind::Invalid`] when the folder has something else in it.
    pub async fn write(self, progress: Progress) -> Result<Ran> {
        match self.base.clone() {
            Some(base) => self.write_folder(&base, progress).await,
            None => self.write_file(progress).await,
        }
    }

    async fn write_file(self, progress: Progress) -> Result<Ran> {
        let pieces = self.inputs.iter().flat_map(|input| input.pieces.clone()).collect();
        let ahead = self.opened.sources.partitions();
        let (rows, errors) = rows(&self.opened, pieces, ahead, progress)?;
        let storage = &self.opened.sources.places().storage;
        let unchanged = async |_: &Content| {
            for input in &self.inputs {
                refuse_changed(storage, &input.object).await?;
            }
            Ok(Vec::new())
        };
        let written = write_parquet(rows, &self.output, unchanged).await;
        let Content { rows, hash } = self.settle(written, &self.inputs).await?;
        Ok(Ran { rows, hash, row_errors: errors.take(), parts: None })
    }

    /// The outcome of reading these files; an error that comes of a damaged one names it.
    async fn settle<T>(&self, outcome: Result<T>, inputs: &[Input]) -> Result<T> {
        match outcome {
            Err(error) => {
                let objects = inputs.iter().map(|input| &input.object);
                Err(locate(&self.opened.sources, objects, error).await)
            }
            outcome => outcome,
        }
    }
}

/// A source with these files.
fn source(path: &str) -> Source {
    Source {
        data: SourceData::Path(path.to_owned()),
        timestamp: String::new(),
        created: None,
        visible: Visible::Event,
        about: About::default(),
    }
}

/// An error without the name of the table, which nobody gave.
fn unnamed(error: &Error) -> Error {
    let named = format!("source \"{INPUT}\": ");
    let message = error.message().strip_prefix(&named).unwrap_or(error.message());
    let unnamed = Error::new(error.kind(), message);
    match error.hint() {
        Some(hint) => unnamed.with_hint(hint),
        None => unnamed,
    }
}

/// The files, up to so many rows.
fn inputs(files: Vec<(Object, Vec<Piece>)>, limit: Option<u64>) -> Vec<Input> {
    let mut room = limit.unwrap_or(u64::MAX);
    let mut inputs = Vec::new();
    for (object, pieces) in files {
        let all: u64 = pieces.iter().map(|piece| piece.rows).sum();
        let before = room;
        let mut wanted = Vec::new();
        for piece in pieces {
            let piece = piece.first(room);
            room -= piece.rows;
            if piece.rows > 0 {
                wanted.push(piece);
            }
        }
        if before > 0 {
            inputs.push(Input { object, pieces: wanted, limit: (before < all).then_some(before) });
        }
    }
    inputs
}

fn refuse_missing(evaluation: &Evaluation, sources: &Sources, input: &str) -> Result<()> {
    let columns = sources.columns(INPUT)?;
    let has = |name: &str| columns.iter().any(|(column, _)| column == name);
    match evaluation.inputs().find(|(name, _)| !has(name)) {
        Some((name, data_type)) => {
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            Err(Error::invalid(format!("{input} has no column \"{name}\" ({data_type})"))
                .with_hint(format!(
                    "name the column with --column {name}=COLUMN; there are: {}",
                    names.join(", ")
                )))
        }
        None => Ok(()),
    }
}

fn refuse_taken(evaluation: &Evaluation, sources: &Sources, input: &str) -> Result<()> {
    let columns = sources.columns(INPUT)?;
    let has = |name: &str| columns.iter().any(|(column, _)| column == name);
    match evaluation.fields().iter().find(|output| has(&output.name)) {
        Some(output) => Err(Error::invalid(format!(
            "nothing written: {input} has a column \"{}\" already, as an output of the function is called",
            output.name
        ))
        .with_hint("take the column out of the input, or give it another name there")),
        None => Ok(()),
    }
}

/// Refuses an output that would be among the files of the input: the next run would read it.
fn refuse_within(
    input: &Location,
    output: &Path,
    base: Option<&Location>,
    files: &[(Object, Vec<Piece>)],
) -> Result<()> {
    let place = Location::of_path(output)?;
    let written = files.iter().map(|(object, _)| match base {
        Some(base) => place.join(&part_path(object, base)),
        None => place.clone(),
    });
    for file in written {
        if would_take(input, &file)? {
            return Err(Error::conflict(format!(
                "{} was not written: it is within {input}, so the next run would read it",
                output.display()
            ))
            .with_hint(
                "write to another place, or give it a name that starts with an underscore",
            ));
        }
    }
    Ok(())
}

/// The folder at `path`, which is made if need be.
fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).context(|| format!("{} cannot be made", path.display()))
}
