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
use crate::error::{Error, Result};

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
        let prefix = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
        remove_abandoned(around(path), &prefix)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        // For whom any new folder is, and not for its owner alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        loop {
            let folder = builder.tempdir_in(around(path))?;
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
        Ok(File::open(around(&self.path))?.sync_all()?)
    }
}

/// Removes the drafts of this prefix that nobody holds.
fn remove_abandoned(folder: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let random = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(SUFFIX));
        if !random.is_some_and(|random| random.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            continue;
        }
        // One that cannot be opened or locked is left to its owner.
        let Ok(held) = File::open(entry.path()) else { continue };
        if held.try_lock().is_ok() {
            match fs::remove_dir_all(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
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

/// The folder that a path is in.
fn around(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}
