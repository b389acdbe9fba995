//! Folders in the making: under hidden names, held by whoever writes them, as
//! [`crate::storage::Draft`] is for files.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use super::MANIFEST;
use crate::{
    error::{Error, Result},
    storage::{folder_around, remove_abandoned_drafts},
};

/// What the name of a draft ends in.
const SUFFIX: &str = ".parts";

/// A folder that is not there yet under its name; it is removed unless it is
/// [finished](Self::finish).
pub(super) struct DraftFolder {
    folder: TempDir,
    path: PathBuf,
    /// Holds the lock.
    _held: File,
}

impl DraftFolder {
    /// An empty draft of the folder at `path`, beside it. Drafts of that folder which nobody writes
    /// any more are removed.
    ///
    /// # Errors
    /// [`crate::error::Kind::Conflict`] when something else than a dataset is at the path;
    /// [`crate::error::Kind::NotFound`] when the folder around it is not there;
    /// [`crate::error::Kind::Unavailable`] when nothing can be written there.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let unknown = path.exists() && !path.join(MANIFEST).exists();
        if unknown && fs::read_dir(path).map_or(true, |mut entries| entries.next().is_some()) {
            return Err(Error::conflict("it is there already, and is no partitioned dataset")
                .with_hint("only such a folder is replaced; name another one"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        remove_abandoned_drafts(folder_around(path), &name, SUFFIX)?;
        let prefix = format!(".{name}.");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        // For whom any new folder is, and not for its owner alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        loop {
            let folder = builder.tempdir_in(folder_around(path))?;
            let held = File::open(folder.path())?;
            // In between somebody else may have taken it for an abandoned one.
            let free = !matches!(held.try_lock(), Err(TryLockError::WouldBlock));
            if free && folder.path().try_exists()? {
                return Ok(Self { folder, path: path.to_owned(), _held: held });
            }
        }
    }

    /// Where it is until it is finished.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the folder its name, once all of it is on the disk. A dataset that was there before is
    /// replaced at once, and then removed.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] when the disk fails; nothing has changed then.
    pub(super) fn finish(self) -> Result<()> {
        sync(self.folder.path())?;
        match self.path.exists() {
            // What was there gets the name of the draft, which is removed.
            true => renameat_with(CWD, self.folder.path(), CWD, &self.path, RenameFlags::EXCHANGE)
                .map_err(io::Error::from)?,
            false => {
                fs::rename(self.folder.path(), &self.path)?;
                let _ = self.folder.keep();
            }
        }
        Ok(File::open(folder_around(&self.path))?.sync_all()?)
    }
}

/// Sees to it that the names in a folder, and in all folders below it, are on the disk.
fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}
