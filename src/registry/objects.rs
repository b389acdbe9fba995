//! Objects: read whole, created once, never replaced. The only place that talks to storage.

use std::{
    fs::{self, File},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    local::LocalFileSystem, path::Path, prefix::PrefixStore,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OnceCell;

use super::paths;
use crate::{
    error::{Context as _, Error, Kind, Result},
    storage::{Location, Storage, failed},
};

/// The storage of a registry.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    root: Root,
}

/// Where the objects are.
#[derive(Debug, Clone)]
enum Root {
    Folder(PathBuf),
    /// In a bucket; the cell is full once the store has shown that it creates objects once.
    Bucket(Location, Arc<OnceCell<()>>),
}

/// Whether an object was created, or was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    Now,
    Before,
}

impl Objects {
    /// The objects in a folder, which is made if need be.
    pub(super) fn in_folder(folder: &FilePath) -> Result<Self> {
        let outcome = || format!("the registry in {} cannot be used", folder.display());
        // Whatever keeps a folder from being a registry, it is the environment's doing.
        let unavailable = |error: std::io::Error| Error::unavailable(error.to_string());
        fs::create_dir_all(folder).map_err(unavailable).context(outcome)?;
        let store = LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| Error::unavailable(error.to_string()));
        Ok(Self { store: Arc::new(store.context(outcome)?), root: Root::Folder(folder.to_owned()) })
    }

    /// The objects below a place in a bucket.
    pub(super) fn in_bucket(location: &Location, storage: &Storage) -> Result<Self> {
        let (store, path) = storage
            .store(location)
            .context(|| format!("the registry {location} cannot be used"))?;
        let root = Root::Bucket(location.clone(), Arc::default());
        Ok(Self { store: Arc::new(PrefixStore::new(store, path)), root })
    }

    /// An object's bytes; `None` where it does not exist.
    pub(super) async fn read(&self, path: &Path) -> Result<Option<Bytes>> {
        let read = async { self.store.get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(path, &error)),
        }
    }

    /// An object's JSON; `None` where it does not exist.
    pub(super) async fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        let Some(bytes) = self.read(path).await? else {
            return Ok(None);
        };
        let parsed = serde_json::from_slice(&bytes).map_err(|error| {
            Error::corrupt(format!("the registry's object {path} cannot be read: {error}"))
        });
        parsed.map(Some)
    }

    /// Creates an object, unless there is one.
    pub(super) async fn create(&self, path: &Path, bytes: Bytes) -> Result<Created> {
        if let Root::Bucket(location, shown) = &self.root {
            shown.get_or_try_init(|| self.show_that_objects_are_created_once(location)).await?;
        }
        let created = self.put(path, bytes).await?;
        match &self.root {
            Root::Folder(folder) if created == Created::Now => settle(folder, path)?,
            _ => {}
        }
        Ok(created)
    }

    async fn put(&self, path: &Path, bytes: Bytes) -> Result<Created> {
        let once = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(path, PutPayload::from(bytes), once).await {
            Ok(_) => Ok(Created::Now),
            Err(StoreError::AlreadyExists { .. }) => Ok(Created::Before),
            Err(error) => Err(self.failed(path, &error)),
        }
    }

    /// Sees to it that the store refuses to create what is there. Some take the condition of a
    /// request for nothing and replace the object: there, two processes could put different
    /// definitions into force under one number.
    async fn show_that_objects_are_created_once(&self, location: &Location) -> Result<()> {
        let (path, text) = (paths::once(), Bytes::from_static(b"created once\n"));
        // It is there from the second time on, whoever was first.
        let first = self.put(&path, text.clone()).await?;
        if first == Created::Now && self.put(&path, text).await? == Created::Now {
            return Err(conditions_missing(location));
        }
        Ok(())
    }

    /// Creates an object of JSON, unless there is one.
    pub(super) async fn create_json(&self, path: &Path, value: &impl Serialize) -> Result<Created> {
        let json = serde_json::to_vec_pretty(value)
            .map_err(|error| Error::internal(format!("{path} has no JSON form: {error}")))?;
        self.create(path, json.into()).await
    }

    /// Deletes an object, if it is there.
    pub(super) async fn delete(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(path, &error)),
        }
    }

    /// The paths of all objects in a folder, in no particular order.
    pub(super) async fn list(&self, folder: &Path) -> Result<Vec<Path>> {
        let listed = self.store.list(Some(folder)).map_ok(|object| object.location);
        listed.try_collect().await.map_err(|error| self.failed(folder, &error))
    }

    fn failed(&self, path: &Path, error: &StoreError) -> Error {
        match (&self.root, error) {
            (Root::Bucket(location, _), StoreError::NotImplemented { .. }) => {
                conditions_missing(location)
            }
            (Root::Bucket(location, _), _) => {
                failed(&location.join(path.as_ref()), error).context("the registry")
            }
            (Root::Folder(_), _) => {
                Error::new(Kind::Unavailable, format!("the registry's object {path}: {error}"))
            }
        }
    }
}

/// Sees to it that an object in a folder outlives a power cut before anybody is told that it is
/// there: the store writes to the system's buffers, and an object that is never replaced must not
/// be left there half.
fn settle(root: &FilePath, path: &Path) -> Result<()> {
    let file = root.join(path.as_ref());
    let folder = file.parent().unwrap_or(root);
    let settled = File::open(&file).and_then(|file| file.sync_all());
    let settled = settled.and_then(|()| File::open(folder)?.sync_all());
    settled.map_err(|error| Error::unavailable(format!("the registry's object {path}: {error}")))
}

fn conditions_missing(location: &Location) -> Error {
    Error::invalid(format!(
        "{location} cannot be a registry: the store has no conditional writes, so that two \
         processes could create the same object"
    ))
    .with_hint(
        "the store has to heed If-None-Match: * when an object is put, as Amazon S3, Google Cloud \
         Storage and Azure do; a registry may be a folder, too",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bucket: in memory, which heeds conditions.
    fn bucket() -> Objects {
        let location = Location::parse("s3://bucket/registry", FilePath::new("/")).unwrap();
        let store = Arc::new(object_store::memory::InMemory::new());
        Objects { store, root: Root::Bucket(location, Arc::default()) }
    }

    #[tokio::test]
    async fn objects_of_a_bucket_are_created_once() {
        let (one, other) = (bucket(), Path::from("snapshots/2"));
        let path = Path::from("snapshots/1");
        for (path, expect) in
            [(&path, Created::Now), (&path, Created::Before), (&other, Created::Now)]
        {
            assert_eq!(one.create(path, Bytes::from_static(b"{}")).await.unwrap(), expect);
        }
        let again = Objects { root: bucket().root, ..one.clone() };
        assert_eq!(again.create(&other, Bytes::new()).await.unwrap(), Created::Before);
        assert_eq!(again.read(&other).await.unwrap().unwrap(), "{}");
        assert_eq!(one.list(&Path::from("snapshots")).await.unwrap().len(), 2);
        one.delete(&path).await.unwrap();
        one.delete(&path).await.unwrap();
        assert_eq!(one.read(&path).await.unwrap(), None);
    }

    #[test]
    fn a_store_without_conditions_is_named() {
        let error = StoreError::NotImplemented { operation: "put".into(), implementer: "x".into() };
        let error = bucket().failed(&Path::from("snapshots/1"), &error);
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(
            error.message().starts_with("s3://bucket/registry cannot be a registry"),
            "{error}"
        );
    }
}
