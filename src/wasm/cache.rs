//! Compiled code on disk, so that a component is compiled once on a machine.
//!
//! A file here is machine code that will run in this process. So the folder and each file belong
//! to the user of the process and nobody else can write them, and code comes from nowhere else: a
//! registry holds components, never this. Besides, every file begins with the digest of the rest,
//! since Wasmtime looks only at the header of what it is given.

use std::{
    fs::{DirBuilder, File, Metadata},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;
use wasmtime::{Engine, component::Component};

use super::engine::compatibility;
use crate::{
    digest::Digest,
    error::{Context as _, Error, Result},
};

/// The folder with the compiled code of this user.
#[derive(Debug)]
pub(super) struct CodeCache {
    folder: PathBuf,
    /// The user this process runs as.
    user: u32,
    /// Which engines the code is for; part of every file's name.
    compatibility: String,
}

impl CodeCache {
    /// Opens the folder, making it where there is none.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) when somebody else owns it or can write to
    /// it; whatever the file system says.
    pub(super) fn open(folder: &Path, engine: &Engine) -> Result<Self> {
        let failed = || format!("cannot use {} for compiled code", folder.display());
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let user = NamedTempFile::new_in(folder)?.as_file().metadata()?.uid();
            Ok::<_, std::io::Error>((user, folder.metadata()?))
        };
        let (user, metadata) = open().context(failed)?;
        check_owner(&metadata, user).context(failed)?;
        let compatibility = compatibility(engine);
        Ok(Self { folder: folder.to_owned(), user, compatibility })
    }

    /// The compiled code of a component, if it is there and whole and ours.
    pub(super) fn load(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let path = self.path(digest);
        let file = File::open(&path).ok()?;
        let loaded = self.read(file).and_then(|code| {
            // SAFETY: the bytes are what `store` wrote, by their digest, in a file that none but
            // this user could write.
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
        self.folder.join(format!("{}-{}.code", digest.hex(), self.compatibility))
    }

    fn read(&self, mut file: File) -> Result<Vec<u8>> {
        check_owner(&file.metadata()?, self.user)?;
        let mut digest = [0; 32];
        let mut code = Vec::new();
        let whole = file.read_exact(&mut digest).and_then(|()| file.read_to_end(&mut code));
        match whole {
            Ok(_) if Digest::of(&code).as_bytes() == &digest => Ok(code),
            _ => Err(Error::corrupt("its bytes are not what was written")),
        }
    }

    /// Under another name first: nobody sees half a file.
    fn write(&self, path: &Path, component: &Component) -> Result<()> {
        let code = component.serialize();
        let code = code.map_err(|error| Error::internal(error.to_string()))?;
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(Digest::of(&code).as_bytes())?;
        file.write_all(&code)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
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
            let cache = CodeCache::open(self.folder.path(), engine).unwrap();
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
}
