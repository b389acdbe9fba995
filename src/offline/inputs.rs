//! The files that a training dataset is made of: found before they are read, hashed beside, looked
//! at again when all is read.

use std::{collections::BTreeMap, path::Path};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinHandle;

use super::{EntityOrigin, SourceFile, Sources, damage::locate};
use crate::{
    digest::Digest,
    error::{Error, Kind, Result},
    storage::{Location, Object, Storage},
};

/// How many files are hashed, or asked after, at once.
const AT_ONCE: usize = 4;

/// The files of a request.
pub(super) struct Inputs<'a> {
    sources: &'a Sources,
    /// The file of the entity dataframe, where it is one.
    entities: Option<Object>,
    objects: Vec<Object>,
}

/// The files with their hashes.
pub(super) struct Hashed {
    pub(super) entities: Option<SourceFile>,
    pub(super) sources: Vec<SourceFile>,
}

/// Hashes in the making.
pub(super) struct Hashing<'a> {
    inputs: &'a Inputs<'a>,
    digests: JoinHandle<Result<BTreeMap<Location, Digest>>>,
}

impl<'a> Inputs<'a> {
    /// The files of the sources that are `read`, and the file of the entity dataframe, which was
    /// found before.
    pub(super) fn new(
        sources: &'a Sources,
        read: &[&str],
        entities: Option<Object>,
    ) -> Result<Self> {
        let objects = sources.objects(read.iter().copied())?.into_iter().cloned().collect();
        Ok(Self { sources, entities, objects })
    }

    fn storage(&self) -> &Storage {
        &self.sources.places().storage
    }

    /// Reads all files once more, for their hashes, while they are worked on.
    pub(super) fn start_hashing(&'a self) -> Hashing<'a> {
        let storage = self.storage().clone();
        let all: Vec<Location> = self.all().map(|object| object.location.clone()).collect();
        let digests = tokio::spawn(async move {
            let hashes = all.into_iter().map(|location| {
                let storage = storage.clone();
                async move { Ok((location.clone(), storage.digest(&location).await?)) }
            });
            stream::iter(hashes).buffer_unordered(AT_ONCE).try_collect().await
        });
        Hashing { inputs: self, digests }
    }

    fn all(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().chain(&self.entities)
    }

    /// An error where writing `output` would replace a file of these.
    ///
    /// # Errors
    /// Those of [`refuse_output`].
    pub(super) fn refuse_output(&self, output: &Path) -> Result<()> {
        refuse_output(output, self.all())
    }

    /// An error where a file is not what it was.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for the first such file.
    pub(super) async fn refuse_changed(&self) -> Result<()> {
        let looks = self.all().map(|object| refuse_changed(self.storage(), object));
        stream::iter(looks).buffered(AT_ONCE).try_collect().await
    }

    /// The outcome of reading; an error that comes of a file that changed meanwhile, or that is
    /// damaged, says so.
    pub(super) async fn settle<T>(&self, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(error) if error.kind() != Kind::Conflict => {
                Err(match self.refuse_changed().await {
                    Err(changed) => changed,
                    Ok(()) => locate(self.sources, &self.objects, error).await,
                })
            }
            outcome => outcome,
        }
    }
}

/// The file of an entity dataframe as it is, before it is read.
///
/// # Errors
/// [`Kind::NotFound`] when there is none.
pub(super) async fn find_entities(
    origin: &EntityOrigin,
    storage: &Storage,
) -> Result<Option<Object>> {
    let EntityOrigin::File(path) = origin else {
        return Ok(None);
    };
    let location = Location::of_path(path)?;
    let found = storage.find(&location).await?;
    let missing = || Error::not_found(format!("the entity dataframe {location} does not exist"));
    found.map(Some).ok_or_else(missing)
}

/// An error where an output is one of the files that are read, whatever path or link leads there, or
/// a folder that holds one: what is read would be replaced.
///
/// # Errors
/// [`Kind::Conflict`], naming the file.
pub(super) fn refuse_output<'a>(
    output: &Path,
    read: impl IntoIterator<Item = &'a Object>,
) -> Result<()> {
    // What is not there replaces nothing.
    let Ok(place) = output.canonicalize() else { return Ok(()) };
    let replaced = read.into_iter().find(|object| {
        let file = object.location.local().and_then(|path| path.canonicalize().ok());
        file.is_some_and(|file| file.starts_with(&place))
    });
    let Some(object) = replaced else { return Ok(()) };
    let why = match place.is_dir() {
        true => format!("{} is read, and is in that folder", object.location),
        false => "it is a file that is read".to_owned(),
    };
    Err(Error::conflict(format!("{} was not written: {why}", output.display()))
        .with_hint("write to another place"))
}

/// An error where a file is not what it was.
///
/// # Errors
/// [`Kind::Conflict`] where it is not.
pub(super) async fn refuse_changed(storage: &Storage, object: &Object) -> Result<()> {
    let now = storage.find(&object.location).await?;
    if now.as_ref().is_some_and(|now| now.is_still(object)) {
        return Ok(());
    }
    let is = now
        .as_ref()
        .map_or_else(|| "it is gone".to_owned(), |now| format!("it has {}", state(now)));
    Err(Error::conflict(format!(
        "{} changed while it was read: it had {}, and now {is}",
        object.location,
        state(object)
    ))
    .with_hint("run the command again when nobody writes to the file"))
}

fn state(object: &Object) -> String {
    let written = crate::time::Timestamp(object.meta.last_modified.timestamp_micros());
    let etag = object.meta.e_tag.as_ref().filter(|_| object.location.local().is_none());
    let etag = etag.map_or_else(String::new, |etag| format!(", ETag {etag}"));
    format!("{} bytes, written {written}{etag}", object.meta.size)
}

impl Hashing<'_> {
    /// The files with their hashes, once these are there.
    pub(super) async fn finish(self) -> Result<Hashed> {
        let digests = self.digests.await.map_err(|error| Error::internal(error.to_string()))??;
        let folder = &self.inputs.sources.places().folder;
        let hashed = |object: &Object| SourceFile {
            hash: digests.get(&object.location).copied(),
            ..SourceFile::of(object, folder)
        };
        let mut sources: Vec<SourceFile> = self.inputs.objects.iter().map(hashed).collect();
        sources.sort();
        Ok(Hashed { entities: self.inputs.entities.as_ref().map(hashed), sources })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn what_is_read_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("data/day=1")).unwrap();
        fs::create_dir(root.join("other")).unwrap();
        for file in ["data/day=1/x.parquet", "other/x.parquet"] {
            fs::write(root.join(file), "rows").unwrap();
        }
        std::os::unix::fs::symlink("data/day=1", root.join("link")).unwrap();
        let read = Location::of_path(&root.join("link/x.parquet")).unwrap();
        let read = Storage::default().find(&read).await.unwrap().unwrap();
        let refusal = |output: &str| {
            let refused = refuse_output(&root.join(output), [&read]).err();
            refused.map(|error| error.message().replace(&root.display().to_string(), "."))
        };
        let file =
            |path: &str| Some(format!("./{path} was not written: it is a file that is read"));
        for path in ["data/day=1/x.parquet", "link/x.parquet", "data/../link/x.parquet"] {
            assert_eq!(refusal(path), file(path));
        }
        let within = "./data was not written: ./link/x.parquet is read, and is in that folder";
        assert_eq!(refusal("data").as_deref(), Some(within));
        for path in ["other/x.parquet", "other", "data/day=1/y.parquet", "new/x.parquet"] {
            assert_eq!(refusal(path), None, "{path}");
        }
    }
}
