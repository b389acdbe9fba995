//! Where operators spill: files without names in one folder, under one limit.
//!
//! A file that has no name is gone with the process, however that ends; there is nothing to clean up.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use datafusion::{
    common::{Result, runtime::SpawnedTask},
    error::DataFusionError,
    execution::{SpillFile, SpillWriter, TempFileFactory},
};
use futures::{Stream, stream};

use super::errors::external;
use crate::error::{Context, Error};

/// How much is read at once.
const READ_BYTES: usize = 1 << 17;

/// The folder that operators of one session spill to.
#[derive(Debug)]
pub(super) struct SpillFolder {
    path: PathBuf,
    /// The most bytes of all files together.
    limit: u64,
    used: AtomicU64,
}

impl SpillFolder {
    /// The folder at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] and others when nothing can be written there.
    pub(super) fn open(path: &Path, limit: u64) -> crate::error::Result<Arc<Self>> {
        let cannot = || format!("cannot spill to {}", path.display());
        std::fs::create_dir_all(path).context(cannot)?;
        tempfile::tempfile_in(path).context(cannot)?;
        Ok(Arc::new(Self { path: path.to_owned(), limit, used: AtomicU64::new(0) }))
    }

    /// What went wrong with a file in it.
    fn error(&self, error: &io::Error) -> Error {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let spilled = self.used.load(Ordering::Relaxed);
        let error = Error::unavailable(format!(
            "cannot spill to {}, which holds {spilled} bytes of this run: {error}",
            self.path.display()
        ));
        error.with_hint(match full {
            true => "free space there, name another folder with --spill, or raise --memory-limit",
            false => "name another folder with --spill",
        })
    }

    /// Takes so many more bytes into account.
    fn grow(&self, bytes: u64) -> crate::error::Result<()> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used <= self.limit {
            return Ok(());
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        let what = format!("bytes spilled to {}", self.path.display());
        Err(Error::limit(&what, self.limit, used - bytes, used)
            .with_hint("raise --spill-limit, or raise --memory-limit so that less is spilled"))
    }
}

/// Makes the files of a folder.
#[derive(Debug)]
pub(super) struct SpillFiles(pub(super) Arc<SpillFolder>);

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, _: &str) -> Result<Arc<dyn SpillFile>> {
        let folder = Arc::clone(&self.0);
        let file =
            tempfile::tempfile_in(&folder.path).map_err(|error| external(folder.error(&error)))?;
        Ok(Arc::new(Spilled { file: Arc::new(file), folder, bytes: Arc::default() }))
    }
}

/// A file without a name.
#[derive(Debug)]
struct Spilled {
    file: Arc<File>,
    folder: Arc<SpillFolder>,
    bytes: Arc<AtomicU64>,
}

impl Drop for Spilled {
    fn drop(&mut self) {
        self.folder.used.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl SpillFile for Spilled {
    fn size(&self) -> Option<u64> {
        Some(self.bytes.load(Ordering::Relaxed))
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let (file, folder) = (Arc::clone(&self.file), Arc::clone(&self.folder));
        let chunks = stream::try_unfold(0, move |at| {
            let (file, folder) = (Arc::clone(&file), Arc::clone(&folder));
            let read = SpawnedTask::spawn_blocking(move || read_at(&file, at));
            async move {
                let read = read.join().await;
                let read = read.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
                let chunk = read.map_err(|error| external(folder.error(&error)))?;
                let next = at + chunk.len() as u64;
                Ok((next > at).then_some((chunk, next)))
            }
        });
        Ok(Box::pin(chunks))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        Ok(Box::new(Writer {
            file: Arc::clone(&self.file),
            folder: Arc::clone(&self.folder),
            bytes: Arc::clone(&self.bytes),
        }))
    }
}

/// Up to [`READ_BYTES`] bytes from `at` on; none at the end.
fn read_at(file: &File, at: u64) -> io::Result<Bytes> {
    let mut chunk = vec![0; READ_BYTES];
    let read = file.read_at(&mut chunk, at)?;
    chunk.truncate(read);
    Ok(chunk.into())
}

struct Writer {
    file: Arc<File>,
    folder: Arc<SpillFolder>,
    bytes: Arc<AtomicU64>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len() as u64;
        self.folder.grow(count).map_err(io::Error::other)?;
        self.bytes.fetch_add(count, Ordering::Relaxed);
        let written = (&*self.file).write_all(bytes);
        written.map_err(|error| io::Error::other(self.folder.error(&error)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
