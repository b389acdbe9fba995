//! Objects: read whole, created once, never replaced. The only place that talks to storage.

use std::{
    fs::{self, File},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, local::LocalFileSystem,
    path::Path,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Context as _, Error, Kind, Result};

/// The storage of a registry.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
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
        Ok(Self { store: Arc::new(store.context(outcome)?), folder: folder.to_owned() })
    }

    /// An object's bytes; `None` where it does not exist.
    pub(super) async fn read(&self, path: &Path) -> Result<Option<Bytes>> {
        let read = async { self.store.get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unavailable(path, &error)),
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
        let once = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(path, PutPayload::from(bytes), once).await {
            Ok(_) => self.settle(path).map(|()| Created::Now),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Before),
            Err(error) => Err(unavailable(path, &error)),
        }
    }

    /// Sees to it that an object outlives a power cut before anybody is told that it is there: the
    /// store writes to the system's buffers, and an object that is never replaced must not be left
    /// there half.
    fn settle(&self, path: &Path) -> Result<()> {
        let file = self.folder.join(path.as_ref());
        let folder = file.parent().unwrap_or(&self.folder);
        let settled = File::open(&file).and_then(|file| file.sync_all());
        let settled = settled.and_then(|()| File::open(folder)?.sync_all());
        settled
            .map_err(|error| Error::unavailable(format!("the registry's object {path}: {error}")))
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
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(path, &error)),
        }
    }

    /// The paths of all objects in a folder, in no particular order.
    pub(super) async fn list(&self, folder: &Path) -> Result<Vec<Path>> {
        let listed = self.store.list(Some(folder)).map_ok(|object| object.location);
        listed.try_collect().await.map_err(|error| unavailable(folder, &error))
    }
}

fn unavailable(path: &Path, error: &object_store::Error) -> Error {
    Error::new(Kind::Unavailable, format!("the registry's object {path}: {error}"))
}
