//! Entity rows in an Arrow IPC file or stream.

use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::reader::{FileReader, StreamReader},
};
use datafusion::execution::TaskContext;

use super::data::{Batches, EntityData};
use crate::{
    error::{Context, Error, Result},
    offline::stream::from_blocking,
};

/// What an IPC file begins with; a stream does not.
const MAGIC: &[u8] = b"ARROW1";

/// A file whose schema has been read.
struct IpcData {
    path: PathBuf,
    schema: SchemaRef,
}

pub(super) fn open(path: &Path) -> Result<Arc<dyn EntityData>> {
    let schema = Reader::open(path)?.schema();
    Ok(Arc::new(IpcData { path: path.to_owned(), schema }))
}

impl EntityData for IpcData {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn batches(&self, context: &Arc<TaskContext>) -> Batches {
        let path = self.path.clone();
        let batch_size = context.session_config().batch_size();
        from_blocking(Arc::clone(&self.schema), batch_size, move || Reader::open(&path))
    }
}

/// A reader of either format.
struct Reader {
    path: PathBuf,
    batches: Format,
}

enum Format {
    File(Box<FileReader<BufReader<File>>>),
    Stream(Box<StreamReader<BufReader<File>>>),
}

impl Reader {
    fn open(path: &Path) -> Result<Self> {
        let cannot = || format!("{} cannot be opened", path.display());
        let mut file = File::open(path).context(cannot)?;
        let mut magic = Vec::with_capacity(MAGIC.len());
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut magic).context(cannot)?;
        file.rewind().context(cannot)?;
        let file = BufReader::new(file);
        let format = match magic == MAGIC {
            true => FileReader::try_new(file, None).map(|file| Format::File(Box::new(file))),
            false => StreamReader::try_new(file, None).map(|file| Format::Stream(Box::new(file))),
        };
        let batches = format.map_err(|error| damaged(path, &error))?;
        Ok(Self { path: path.to_owned(), batches })
    }

    fn schema(&self) -> SchemaRef {
        match &self.batches {
            Format::File(file) => file.schema(),
            Format::Stream(stream) => stream.schema(),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match &mut self.batches {
            Format::File(file) => file.next(),
            Format::Stream(stream) => stream.next(),
        };
        Some(batch?.map_err(|error| damaged(&self.path, &error)))
    }
}

fn damaged(path: &Path, error: &ArrowError) -> Error {
    Error::corrupt(format!(
        "{} is no Arrow IPC file or stream, or was cut off or damaged: {error}",
        path.display()
    ))
    .with_hint("write the file again; unskew never reads a part of a file")
}
