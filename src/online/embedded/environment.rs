//! The LMDB environment of a store: opened once in a process, its map grown as needed.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use heed::{
    BoxedError, BytesDecode, CommitOrAbort, Database, Env, EnvOpenOptions, MdbError, RoTxn, RwTxn,
    byteorder::BE,
    types::{Bytes, Str, U64, Unit},
};

use super::{super::StoredRow, EmbeddedOptions, gate::Gate};
use crate::error::{Error, Kind, Result};

/// The version of the layout of a store; others are refused.
const FORMAT: u64 = 2;
const FORMAT_KEY: &str = "format";

/// How much shorter than its own count of pages a sound data file may be: pages that a
/// transaction took and gave back are counted and, at the end of the file, never written.
const UNWRITTEN_PAGES: u64 = 256;

/// A file beside the data, made when there is some for the first time: LMDB takes a data file that
/// is lost or empty for a new store.
const MARKER: &str = "has-data";

/// How long opening waits for a store that this process is about to close.
const CLOSING: Duration = Duration::from_secs(10);

/// An open environment, shared by everybody in the process who opened its folder.
#[derive(Debug)]
pub(super) struct Environment {
    folder: PathBuf,
    options: EmbeddedOptions,
    env: Env,
    tables: Tables,
    /// Held shared by every transaction, alone while the map is changed.
    gate: Gate,
    /// Held by the one writer of this process, so that no thread waits for LMDB's own lock, which
    /// another process may have, while it is in the gate.
    writer: Mutex<()>,
}

/// What a transaction works on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    /// Rows by the key of their entity and the id of their view: what a request asks for lies
    /// together.
    pub(super) rows: Database<'static, Bytes, StoredRowCodec>,
    /// Which rows there are, by the id of their view and the key of their entity: for whoever goes
    /// over the rows of a view.
    pub(super) entities: Database<'static, Bytes, Unit>,
    /// The number of rows of a view, by its id.
    pub(super) counts: Database<'static, Bytes, U64<BE>>,
}

/// Reads a [`StoredRow`] where it lies.
pub(super) struct StoredRowCodec;

impl<'a> BytesDecode<'a> for StoredRowCodec {
    type DItem = StoredRow<'a>;

    fn bytes_decode(bytes: &'a [u8]) -> Result<Self::DItem, BoxedError> {
        StoredRow::parse(bytes).ok_or_else(|| "a stored row has no version".into())
    }
}

/// LMDB forbids to open an environment twice in a process: whoever comes second shares it.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Environment>>> = Mutex::new(BTreeMap::new());

impl Environment {
    /// Opens the store in a folder, which is made if it is not there; where this process has it
    /// open already, that one, with the options it was opened with.
    pub(super) fn open(folder: &Path, options: EmbeddedOptions) -> Result<Arc<Self>> {
        let folder = prepare(folder).map_err(|error| explain(error.into(), folder))?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(environment) = open.get(&folder).and_then(Weak::upgrade) {
            return Ok(environment);
        }
        let environment = Arc::new(Self::open_new(&folder, options)?);
        open.retain(|_, environment| environment.strong_count() > 0);
        open.insert(folder, Arc::downgrade(&environment));
        Ok(environment)
    }

    fn open_new(folder: &Path, options: EmbeddedOptions) -> Result<Self> {
        refuse_emptied(folder)?;
        let env = open_env(folder, &options).map_err(|error| explain(error, folder))?;
        refuse_cut_off(&env, folder)?;
        env.clear_stale_readers().map_err(|error| explain(error, folder))?;
        let tables = open_tables(&env, folder)?;
        fs::File::create(folder.join(MARKER)).map_err(|error| explain(error.into(), folder))?;
        Ok(Self {
            folder: folder.to_owned(),
            options,
            tables,
            env,
            gate: Gate::default(),
            writer: Mutex::default(),
        })
    }

    /// Does something in a read transaction: it sees one state of the store, and no lock is
    /// waited for, unless the map is just being changed.
    pub(super) fn read<T>(&self, work: impl Fn(&RoTxn, Tables) -> heed::Result<T>) -> Result<T> {
        loop {
            let entered = self.gate.enter();
            match self.env.read_txn() {
                Ok(txn) => return work(&txn, self.tables).map_err(|error| self.explain(error)),
                Err(heed::Error::Mdb(MdbError::MapResized)) => {
                    drop(entered);
                    self.adopt_map(&self.become_writer())?;
                }
                Err(heed::Error::Mdb(MdbError::ReadersFull)) if self.clear_stale_readers()? => {}
                Err(error) => return Err(self.explain(error)),
            }
        }
    }

    /// Does something in a write transaction and commits it. Where the map turns out to be too
    /// small, nothing was done, the map is enlarged and `work` is called again.
    pub(super) fn write<T>(
        &self,
        mut work: impl FnMut(&mut RwTxn, Tables) -> heed::Result<T>,
    ) -> Result<T> {
        let writer = self.become_writer();
        loop {
            match self.attempt(&mut work) {
                Ok(done) => return Ok(done),
                Err(heed::Error::Mdb(MdbError::MapResized)) => self.adopt_map(&writer)?,
                Err(heed::Error::Mdb(MdbError::MapFull)) => {
                    // A reader that died keeps pages from being used again.
                    if !self.clear_stale_readers()? {
                        self.grow_map(&writer)?;
                    }
                }
                Err(error) => return Err(self.explain(error)),
            }
        }
    }

    fn attempt<T>(
        &self,
        work: &mut impl FnMut(&mut RwTxn, Tables) -> heed::Result<T>,
    ) -> heed::Result<T> {
        let _entered = self.gate.enter();
        let mut txn = self.env.write_txn()?;
        let done = work(&mut txn, self.tables)?;
        txn.commit()?;
        Ok(done)
    }

    fn become_writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear_stale_readers(&self) -> Result<bool> {
        let cleared = self.env.clear_stale_readers().map_err(|error| self.explain(error))?;
        Ok(cleared > 0)
    }

    fn grow_map(&self, writer: &MutexGuard<'_, ()>) -> Result<()> {
        let current = self.env.info().map_size as u64;
        let limit = self.options.max_map_size;
        let next = pages(current.saturating_mul(2).min(limit));
        if next as u64 <= current {
            let requested = current.saturating_mul(2);
            return Err(Error::limit("the online store's map in bytes", limit, current, requested)
                .context(format!("the online store {} is full", self.folder.display()))
                .with_hint("raise the limit, delete views that nobody reads, or give a view a store of its own"));
        }
        self.set_map(writer, next)
    }

    /// Takes over the size that another process gave the map.
    fn adopt_map(&self, writer: &MutexGuard<'_, ()>) -> Result<()> {
        self.set_map(writer, 0)
    }

    fn set_map(&self, _writer: &MutexGuard<'_, ()>, size: usize) -> Result<()> {
        let _closed = self.gate.close();
        // SAFETY: no transaction of this process is active: each is inside the gate.
        unsafe { self.env.resize(size) }.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: heed::Error) -> Error {
        explain(error, &self.folder)
    }
}

fn prepare(folder: &Path) -> std::io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    folder.canonicalize()
}

fn open_env(folder: &Path, options: &EmbeddedOptions) -> heed::Result<Env> {
    let mut open = EnvOpenOptions::new();
    open.map_size(pages(options.map_size)).max_readers(options.max_readers).max_dbs(4);
    loop {
        // SAFETY: nobody but LMDB writes to its files, the locks of which are on (no flags are
        // given), and the folder is documented to be on a local disk.
        let opened = unsafe { open.open(folder) };
        let Err(heed::Error::EnvAlreadyOpened) = opened else {
            return opened;
        };
        // The last one who shared it is just dropping it.
        if heed::env_closing_event(folder).is_some_and(|closing| !closing.wait_timeout(CLOSING)) {
            return opened;
        }
    }
}

fn refuse_emptied(folder: &Path) -> Result<()> {
    let length = fs::metadata(folder.join("data.mdb")).map_or(0, |data| data.len());
    match length == 0 && folder.join(MARKER).exists() {
        true => Err(corrupt("the data file is lost or empty", folder)),
        false => Ok(()),
    }
}

/// To read behind the end of a mapped file kills the process, so that a file that lost its end
/// has to be refused before.
fn refuse_cut_off(env: &Env, folder: &Path) -> Result<()> {
    let page = u64::from(env.unnamed_database_stat().page_size);
    let written = (env.info().last_page_number as u64 + 1).saturating_sub(UNWRITTEN_PAGES) * page;
    let found = env.real_disk_size().map_err(|error| explain(error, folder))?;
    if found < written {
        let message =
            format!("the data file lost its end: it has {found} bytes of at least {written}");
        return Err(corrupt(&message, folder));
    }
    Ok(())
}

fn open_tables(env: &Env, folder: &Path) -> Result<Tables> {
    let opened = env.write_txn().and_then(|txn| {
        env.create_databases_and_commit(txn, |opener, txn| {
            let meta: Database<Str, U64<BE>> = opener.create_database(txn, Some("meta"))?;
            match meta.get(txn, FORMAT_KEY)? {
                Some(FORMAT) => {}
                None => meta.put(txn, FORMAT_KEY, &FORMAT)?,
                Some(other) => return Ok(CommitOrAbort::Abort(other)),
            }
            let rows = opener.create_database(txn, Some("rows"))?;
            let entities = opener.create_database(txn, Some("entities"))?;
            let counts = opener.create_database(txn, Some("counts"))?;
            Ok(CommitOrAbort::Commit((rows, entities, counts)))
        })
    });
    match opened.map_err(|error: heed::Error| explain(error, folder))? {
        CommitOrAbort::Commit((rows, entities, counts)) => Ok(Tables { rows, entities, counts }),
        CommitOrAbort::Abort(format) => Err(Error::invalid(format!(
            "the online store {} has format {format}; this version of unskew has format {FORMAT}",
            folder.display()
        ))
        .with_hint(
            "open it with the version of unskew that wrote it, or materialize into an empty folder",
        )),
    }
}

/// The next size that LMDB accepts: a multiple of every page size there is.
fn pages(bytes: u64) -> usize {
    const LARGEST_PAGE: u64 = 1 << 16;
    let rounded = bytes.div_ceil(LARGEST_PAGE).max(1).saturating_mul(LARGEST_PAGE);
    usize::try_from(rounded).unwrap_or(usize::MAX - (usize::MAX % LARGEST_PAGE as usize))
}

fn corrupt(what: &str, folder: &Path) -> Error {
    Error::corrupt(format!("the online store {} is damaged: {what}", folder.display())).with_hint(
        "delete the folder and materialize again: everything in it comes from the sources",
    )
}

fn explain(error: heed::Error, folder: &Path) -> Error {
    let shown = folder.display();
    let failed = |kind| Error::new(kind, format!("the online store {shown} failed: {error}"));
    match &error {
        heed::Error::Io(io) => explain_io(io, folder),
        heed::Error::Decoding(what) => corrupt(&what.to_string(), folder),
        heed::Error::Mdb(
            MdbError::Corrupted
            | MdbError::Invalid
            | MdbError::PageNotFound
            | MdbError::Panic
            | MdbError::VersionMismatch,
        ) => corrupt(&error.to_string(), folder),
        heed::Error::Mdb(MdbError::ReadersFull) => failed(Kind::Limit).with_hint(
            "raise the number of readers, and restart every process that has the store open",
        ),
        heed::Error::Mdb(MdbError::MapResized) => failed(Kind::Unavailable),
        heed::Error::EnvAlreadyOpened => failed(Kind::Conflict),
        heed::Error::Mdb(_) | heed::Error::Encoding(_) => failed(Kind::Internal),
    }
}

fn explain_io(error: &std::io::Error, folder: &Path) -> Error {
    let shown = folder.display();
    match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            Error::invalid(format!("the online store {shown} cannot be opened: it is no folder"))
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::invalid(format!("the online store {shown} cannot be opened: {error}"))
                .with_hint("whoever reads it has to be able to write there too: readers sign in")
        }
        _ => Error::unavailable(format!("the online store {shown} failed: {error}")),
    }
}
