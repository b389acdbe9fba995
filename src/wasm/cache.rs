//! Compiled code on disk, so that a component is compiled once on a machine.
//!
//! A file here is machine code that will run in this process. So the folder and each file belong
//! to the user of the process and nobody else can write them, and code comes from nowhere else: a
//! registry holds components, never this. Besides, every file begins with a digest over its own
//! name and the rest, since Wasmtime looks only at the header of what it is given: a file that was
//! altered is not loaded, nor is one that was put in the place of another.
//!
//! Any number of processes share the folder without a lock. A file gets its name when it is whole;
//! one that is evicted while another process reads it stays with that process until it is read. A
//! file that is used is marked by its time of modification, and when there is too much, those that
//! were not used for the longest time go.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::NamedTempFile;
use wasmtime::{Engine, component::Component};

use super::engine::compatibility;
use crate::{
    digest::Digest,
    error::{Context as _, Error, Result},
};

/// What is left by an eviction, of a hundred: so that not every new file needs one.
const LEFT: u64 = 90;

/// A file is marked as used so often at most: a mark is a write.
const MARK: Duration = Duration::from_secs(60);

/// How old a file is that its writer must have left behind unfinished.
const ABANDONED: Duration = Duration::from_secs(3_600);

/// The folder with the compiled code of this user.
#[derive(Debug)]
pub(super) struct CodeCache {
    folder: PathBuf,
    /// The user this process runs as.
    user: u32,
    /// Which engines the code is for; part of every file's name.
    compatibility: String,
    /// The bytes of all files, at most.
    most: u64,
}

impl CodeCache {
    /// Opens the folder, making it where there is none; it is to hold so many bytes at most.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) when somebody else owns it or can write to
    /// it; whatever the file system says.
    pub(super) fn open(folder: &Path, engine: &Engine, most: u64) -> Result<Self> {
        let failed = || format!("cannot use {} for compiled code", folder.display());
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let user = NamedTempFile::new_in(folder)?.as_file().metadata()?.uid();
            Ok::<_, std::io::Error>((user, folder.metadata()?))
        };
        let (user, metadata) = open().context(failed)?;
        check_owner(&metadata, user).context(failed)?;
        let compatibility = compatibility(engine);
        Ok(Self { folder: folder.to_owned(), user, compatibility, most })
    }

    /// The compiled code of a component, if it is there and whole and ours.
    pub(super) fn load(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let path = self.path(digest);
        let file = File::open(&path).ok()?;
        let loaded = self.read(&path, file).and_then(|code| {
            // SAFETY: the bytes are what `store` wrote for this component and engine, by their
            // digest, in a file that none but this user could write.
            let component = unsafe { Component::deserialize(engine, code) };
            component.map_err(|error| Error::corrupt(error.to_string()))
        });
        loaded
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), %error, "compiled code is not used");
            })
            .ok()
    }

    /// Keeps the compiled code of a component. That this fails is no reason not to run it.
    pub(super) fn store(&self, digest: Digest, component: &Component) {
        let path = self.path(digest);
        if let Err(error) = self.write(&path, component) {
            tracing::warn!(path = %path.display(), %error, "compiled code is not kept");
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{}-{}.{EXTENSION}", digest.hex(), self.compatibility))
    }

    fn read(&self, path: &Path, mut file: File) -> Result<Vec<u8>> {
        let metadata = file.metadata()?;
        check_owner(&metadata, self.user)?;
        let mut digest = [0; 32];
        let mut code = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        let whole = file.read_exact(&mut digest).and_then(|()| file.read_to_end(&mut code));
        match whole {
            Ok(_) if seal(path, &code).as_bytes() == &digest => {
                mark(&file, &metadata);
                Ok(code)
            }
            _ => Err(Error::corrupt("its bytes are not what was written")),
        }
    }

    /// Under another name first: nobody sees half a file.
    fn write(&self, path: &Path, component: &Component) -> Result<()> {
        let code = component.serialize();
        let code = code.map_err(|error| Error::internal(error.to_string()))?;
        if code.len() as u64 > self.most {
            return Ok(());
        }
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(seal(path, &code).as_bytes())?;
        file.write_all(&code)?;
        file.persist(path).map_err(|error| error.error)?;
        self.evict(path)
    }

    /// Makes room again, but for the file that was just written.
    fn evict(&self, new: &Path) -> Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            // Whatever is gone by now, another process has evicted.
            let Ok(metadata) = path.symlink_metadata() else { continue };
            let used = metadata.modified()?;
            match path.extension().is_some_and(|extension| extension == EXTENSION) {
                true => files.push((used, metadata.len(), path)),
                false if age(used) > ABANDONED => remove(&path),
                false => {}
            }
        }
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        if total <= self.most {
            return Ok(());
        }
        files.sort();
        for (_, size, path) in files.into_iter().filter(|(.., path)| path != new) {
            if total <= self.most / 100 * LEFT {
                break;
            }
            remove(&path);
            total -= size;
        }
        Ok(())
    }
}

/// How the name of a file with code ends.
const EXTENSION: &str = "code";

/// The digest that a file of this name begins with.
fn seal(path: &Path, code: &[u8]) -> Digest {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Digest::of(format!("{name}\n{}", Digest::of(code)))
}

/// Marks a file as used now. That this fails shortens its life, and nothing else.
fn mark(file: &File, metadata: &Metadata) {
    if metadata.modified().is_ok_and(|used| age(used) > MARK) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// How long ago it was; nothing where it is ahead.
fn age(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}

/// Removes a file that others may remove as well.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "compiled code is not evicted");
    }
}

fn check_owner(metadata: &Metadata, user: u32) -> Result<()> {
    if metadata.uid() != user {
        let owner = metadata.uid();
        return Err(Error::invalid(format!("it belongs to user {owner}, and this is user {user}"))
            .with_hint(
                "compiled code is only taken from the user who runs it; name another folder",
            ));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(Error::invalid(format!("others can write to it (mode {mode:o})"))
            .with_hint("take the right away with `chmod go-w`, or name another folder"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, chown},
    };

    use super::*;
    use crate::{
        value::DataType,
        wasm::{
            Limits, Runtime,
            testing::{Guest, field, function},
        },
    };

    struct Fixture {
        folder: tempfile::TempDir,
        runtime: Runtime,
        bytes: Vec<u8>,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let runtime = Runtime::new(Limits::default(), Some(folder.path())).unwrap();
            let fields = [field("x", DataType::Int64, true)];
            let bytes = Guest::echo(&[function("f", &fields, &fields)]).component();
            Self { folder, runtime, bytes }
        }

        fn file(&self) -> PathBuf {
            let mut files = fs::read_dir(self.folder.path()).unwrap();
            let file = files.next().unwrap().unwrap().path();
            assert!(files.next().is_none(), "one file for one component");
            file
        }

        /// Whether the code of the component would come from the cache.
        fn hits(&self) -> bool {
            let engine = &self.runtime.0.host.engine;
            let cache = CodeCache::open(self.folder.path(), engine, u64::MAX).unwrap();
            cache.load(engine, Digest::of(&self.bytes)).is_some()
        }
    }

    #[test]
    fn code_is_compiled_once_and_found_by_the_next_process() {
        let fixture = Fixture::new();
        assert!(!fixture.hits());
        fixture.runtime.load(&fixture.bytes).unwrap();
        assert!(fixture.hits());
        assert_eq!(fixture.file().metadata().unwrap().mode() & 0o777, 0o600);
        let next = Runtime::new(Limits::default(), Some(fixture.folder.path())).unwrap();
        assert_eq!(next.load(&fixture.bytes).unwrap().functions()[0].name, "f");
        fixture.file();
    }

    #[test]
    fn code_that_changed_on_disk_is_compiled_again() {
        let fixture = Fixture::new();
        fixture.runtime.load(&fixture.bytes).unwrap();
        let whole = fs::read(fixture.file()).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for broken in [&flipped[..], &whole[..whole.len() - 1], &whole[..31], &[]] {
            fs::write(fixture.file(), broken).unwrap();
            assert!(!fixture.hits(), "{} bytes", broken.len());
            fixture.runtime.load(&fixture.bytes).unwrap();
            assert_eq!(fs::read(fixture.file()).unwrap(), whole);
        }
    }

    #[test]
    fn code_that_others_could_have_written_is_not_run() {
        let fixture = Fixture::new();
        fixture.runtime.load(&fixture.bytes).unwrap();
        let file = fixture.file();
        for (mode, expected) in [(0o620, false), (0o602, false), (0o644, true)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(fixture.hits(), expected, "{mode:o}");
        }
        // Only root can give files away.
        if chown(&file, Some(12_345), None).is_ok() {
            assert!(!fixture.hits());
            fixture.runtime.load(&fixture.bytes).unwrap();
            assert!(fixture.hits(), "replaced by our own");
        }
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Runtime::new(Limits::default(), Some(&shared)).unwrap_err();
        let expected = format!(
            "cannot use {} for compiled code: others can write to it (mode 777)\n\
             hint: take the right away with `chmod go-w`, or name another folder",
            shared.display()
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_new_folder_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("a/b");
        Runtime::new(Limits::default(), Some(&new)).unwrap();
        assert_eq!(new.metadata().unwrap().mode() & 0o777, 0o700);
    }

    /// A component like the one of the fixture and unlike every other.
    fn numbered(bytes: &[u8], number: u32) -> Vec<u8> {
        // A custom section: its id, the size of the rest, and a name of one byte before the data.
        [bytes, &[0, 6, 1, b'n'], &number.to_le_bytes()].concat()
    }

    #[test]
    fn code_in_the_place_of_other_code_is_not_run() {
        let fixture = Fixture::new();
        fixture.runtime.load(&fixture.bytes).unwrap();
        let kept = fixture.file();
        let other = numbered(&fixture.bytes, 1);
        let name = kept.file_name().unwrap().to_string_lossy().into_owned();
        let place = name.replace(&Digest::of(&fixture.bytes).hex(), &Digest::of(&other).hex());
        fs::copy(&kept, kept.with_file_name(&place)).unwrap();
        let engine = &fixture.runtime.0.host.engine;
        let cache = CodeCache::open(fixture.folder.path(), engine, u64::MAX).unwrap();
        assert!(cache.load(engine, Digest::of(&other)).is_none());
        assert!(fixture.hits());
    }

    #[test]
    fn code_that_was_not_used_for_the_longest_time_goes_first() {
        let fixture = Fixture::new();
        fixture.runtime.load(&fixture.bytes).unwrap();
        let size = fixture.file().metadata().unwrap().len();
        let most = 5 * size + size / 2;
        let limits = Limits { compiled_bytes: most, ..Limits::default() };
        let start = || Runtime::new(limits.clone(), Some(fixture.folder.path())).unwrap();
        let ago = |path: &Path, minutes: u64| {
            let time = SystemTime::now() - Duration::from_secs(60 * minutes);
            File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        let cache = CodeCache::open(fixture.folder.path(), &fixture.runtime.0.host.engine, most);
        let cache = cache.unwrap();
        let path = |number| cache.path(Digest::of(numbered(&fixture.bytes, number)));
        fs::remove_file(fixture.file()).unwrap();
        for number in 0..5 {
            start().load(&numbered(&fixture.bytes, number)).unwrap();
            ago(&path(number), 100 - u64::from(number));
        }
        // Used by another process, the oldest is the newest.
        let next = start();
        next.load(&numbered(&fixture.bytes, 0)).unwrap();
        assert_eq!(next.compilations(), 0);
        let abandoned = fixture.folder.path().join("half");
        fs::write(&abandoned, "half a file").unwrap();
        ago(&abandoned, 61);
        start().load(&numbered(&fixture.bytes, 5)).unwrap();
        let there: Vec<u32> = (0..6).filter(|number| path(*number).exists()).collect();
        assert_eq!(there, [0, 3, 4, 5]);
        assert!(!abandoned.exists());
        let total: u64 = fs::read_dir(fixture.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(total <= most, "{total} bytes, and {most} are allowed");
    }

    #[test]
    fn many_processes_share_a_small_folder() {
        let fixture = Fixture::new();
        fixture.runtime.load(&fixture.bytes).unwrap();
        let size = fixture.file().metadata().unwrap().len();
        let limits = Limits { compiled_bytes: 3 * size, concurrent_calls: 2, ..Limits::default() };
        std::thread::scope(|scope| {
            for process in 0..4_u32 {
                let (fixture, limits) = (&fixture, limits.clone());
                scope.spawn(move || {
                    let runtime = Runtime::new(limits, Some(fixture.folder.path())).unwrap();
                    for round in 0..12 {
                        let bytes = numbered(&fixture.bytes, (process + round) % 6);
                        let transform = runtime.load(&bytes).unwrap();
                        assert_eq!(transform.digest(), Digest::of(&bytes));
                        assert_eq!(transform.functions()[0].name, "f");
                    }
                });
            }
        });
        for entry in fs::read_dir(fixture.folder.path()).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            assert!(name.ends_with(".code"), "{name} was left behind");
        }
    }

    #[test]
    fn whoever_asks_at_the_same_time_waits_for_one_compilation() {
        let fixture = Fixture::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| fixture.runtime.load(&fixture.bytes).unwrap());
            }
        });
        assert_eq!(fixture.runtime.compilations(), 1);
    }

    /// How many: `UNSKEW_TRANSFORMS`, or 500.
    #[test]
    fn a_process_with_many_transforms_starts_without_compiling() {
        let fixture = Fixture::new();
        let count = std::env::var("UNSKEW_TRANSFORMS").map_or(500, |count| count.parse().unwrap());
        let all: Vec<_> = (0..count).map(|number| numbered(&fixture.bytes, number)).collect();
        let load = |runtime: &Runtime| {
            let load = |bytes: &Vec<u8>| runtime.load(bytes).unwrap();
            all.iter().map(load).collect::<Vec<_>>().len()
        };
        assert_eq!(load(&fixture.runtime), all.len());
        assert_eq!(fixture.runtime.compilations(), all.len() as u64);
        let next = Runtime::new(Limits::default(), Some(fixture.folder.path())).unwrap();
        assert_eq!(load(&next), all.len());
        assert_eq!(next.compilations(), 0);
    }
}
