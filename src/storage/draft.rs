//! Files in the making: under hidden names, held by whoever writes them.
//!
//! A process that is killed leaves its draft behind. Whoever writes a file of the same name next
//! removes it, and never one that is still being written: the writer holds a lock on its draft,
//! which the system lets go of when the process ends, however that is.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::error::Result;

/// How many random characters a draft's name has.
const RANDOM: usize = 6;

/// What a draft's name ends in.
const SUFFIX: &str = ".tmp";

/// A file that is not there yet under its name; it is removed unless it is [finished](Self::finish).
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// An empty draft of the file at `path`, in the same folder. Drafts of that file which nobody
    /// writes any more are removed.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such folder;
    /// [`crate::error::Kind::Unavailable`] when nothing can be written there.
    pub fn create(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        remove_abandoned_drafts(folder_around(path), &name, SUFFIX)?;
        let prefix = format!(".{name}.");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX).rand_bytes(RANDOM);
        // Readable by whom any new file is readable, and not by its owner alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        loop {
            let file = builder.tempfile_in(folder_around(path))?;
            if held(&file)? {
                return Ok(Self { file, path: path.to_owned() });
            }
        }
    }

    /// Gives the file its name, once all of it is on the disk. A file that was there before is
    /// replaced.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] when the disk fails or is full; nothing has changed then.
    pub fn finish(self) -> Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.path).map_err(|error| error.error)?;
        Ok(File::open(folder_around(&self.path))?.sync_all()?)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whether a new draft is locked and still there: in between somebody else may have taken it for an
/// abandoned one.
fn held(file: &NamedTempFile) -> io::Result<bool> {
    match file.as_file().try_lock() {
        Ok(()) => Ok(file.path().try_exists()?),
        Err(TryLockError::WouldBlock) => Ok(false),
        // Where there are no locks, nobody can take it for an abandoned one.
        Err(TryLockError::Error(_)) => Ok(true),
    }
}

/// Removes the drafts of `name` that nobody holds, files or folders: their names begin with a dot and
/// end in this.
///
/// # Errors
/// When the folder cannot be read, or one of them not be removed.
pub(crate) fn remove_abandoned_drafts(folder: &Path, name: &str, suffix: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !is_draft(&entry.file_name().to_string_lossy(), name, suffix) {
            continue;
        }
        // One that cannot be opened or locked is left to its owner.
        let Ok(held) = File::open(entry.path()) else { continue };
        if held.try_lock().is_err() {
            continue;
        }
        let removed = match held.metadata()?.is_dir() {
            true => fs::remove_dir_all(entry.path()),
            false => fs::remove_file(entry.path()),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether something of the name `draft` is a draft of `name`.
fn is_draft(draft: &str, name: &str, suffix: &str) -> bool {
    let random = draft
        .strip_prefix('.')
        .and_then(|rest| rest.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(suffix));
    random.is_some_and(|random| {
        random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// The folder that something is in.
pub(crate) fn folder_around(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{error::Kind, storage::testing::names};

    #[test]
    fn a_file_is_there_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        drop(Draft::create(&path).unwrap());
        assert_eq!(names(folder.path()), [""; 0]);
        let mut draft = Draft::create(&path).unwrap();
        draft.write_all(b"all").unwrap();
        assert!(!path.exists());
        draft.finish().unwrap();
        assert_eq!(names(folder.path()), ["out"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "all");
        let nowhere = Draft::create(&folder.path().join("nowhere/out")).unwrap_err();
        assert_eq!(nowhere.kind(), Kind::NotFound);
    }

    #[test]
    fn drafts_that_nobody_holds_are_removed_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let held = Draft::create(&path).unwrap();
        let held_name = held.file.path().file_name().unwrap().to_str().unwrap().to_owned();
        let others = [".out.abc.tmp", ".out.abcdef.tmp.bak", ".out2.abcdef.tmp", "out.abcdef.tmp"];
        for name in others.iter().chain(&[".out.abcdef.tmp", ".out.ABC123.tmp"]) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        drop(Draft::create(&path).unwrap());
        let mut kept: Vec<String> = others.map(str::to_owned).to_vec();
        kept.push(held_name);
        kept.sort();
        assert_eq!(names(folder.path()), kept);
        held.finish().unwrap();
    }

    #[test]
    fn many_writers_do_not_take_each_others_drafts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mut draft = Draft::create(&path).unwrap();
                        draft.write_all(b"all").unwrap();
                        draft.finish().unwrap();
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), ["out"]);
    }
}
