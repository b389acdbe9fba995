//! Storage: paths on this machine and URLs of object stores, told apart in one place.
//!
//! A [`Location`] is where something is, [`Storage`] what gets there: it knows the settings of
//! every bucket and holds one connection to each. Whoever has both needs to know of neither.

mod connect;
mod draft;
mod location;
mod settings;
#[cfg(test)]
pub(crate) mod testing;

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{
    GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt as _, local::LocalFileSystem,
    path::Path,
};

pub use draft::Draft;
pub(crate) use draft::{folder_around, remove_abandoned_drafts};
pub use location::Location;
pub(crate) use location::{absolute, unescape};
pub use settings::StorageSettings;

use crate::{
    digest::{Digest, Hasher},
    error::{Context as _, Error, Kind, Result},
};

/// A file or object, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it is.
    pub location: Location,
    /// Its size, the time it was written at, and where the store gives one, its ETag.
    pub meta: ObjectMeta,
}

impl Object {
    /// Whether it is what was seen before, as far as a store tells.
    ///
    /// A store may say less of an object in a list of many than when it is asked for that one: no
    /// version (Google, S3), the ETag without its quotes (Azure), the time in whole seconds. So what
    /// both have is compared, and the time only where there is nothing better.
    pub fn is_still(&self, before: &Self) -> bool {
        let (now, then) = (&self.meta, &before.meta);
        let unquoted = |etag: &Option<String>| Some(etag.as_ref()?.trim_matches('"').to_owned());
        let versions = now.version.as_ref().zip(then.version.as_ref());
        let etags = unquoted(&now.e_tag).zip(unquoted(&then.e_tag));
        let same = match (versions, &etags) {
            (Some((now, then)), _) => now == then,
            (None, Some((now, then))) => now == then,
            (None, None) => now.last_modified.timestamp() == then.last_modified.timestamp(),
        };
        self.location == before.location && now.size == then.size && same
    }
}

/// The way to files and objects.
#[derive(Debug, Clone, Default)]
pub struct Storage(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    settings: StorageSettings,
    /// By what [`Location::bucket`] says.
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl Storage {
    /// Storage with these settings.
    pub fn new(settings: StorageSettings) -> Self {
        Self(Arc::new(Inner { settings, stores: Mutex::default() }))
    }

    /// The store that a location is in, and its path there.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the settings do not do for a connection.
    pub fn store(&self, location: &Location) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let path = location.object_path()?;
        let bucket = location.bucket();
        let mut stores = self.0.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(bucket) {
            return Ok((Arc::clone(store), path));
        }
        let store: Arc<dyn ObjectStore> = match location {
            Location::Local(_) => Arc::new(LocalFileSystem::new()),
            Location::Remote { .. } => connect::connect(bucket, &self.0.settings)
                .context(|| format!("{bucket} cannot be used"))?,
        };
        stores.insert(bucket.to_owned(), Arc::clone(&store));
        Ok((store, path))
    }

    /// What is at a location; `None` where there is nothing.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the store does not answer or denies access.
    pub async fn find(&self, location: &Location) -> Result<Option<Object>> {
        let (store, path) = self.store(location)?;
        match store.head(&path).await {
            Ok(meta) => Ok(Some(Object { location: location.clone(), meta })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(location, &error)),
        }
    }

    /// Everything below a folder, in the order of the paths.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the store does not answer or denies access.
    pub async fn list(&self, folder: &Location) -> Result<Vec<Object>> {
        let (store, path) = self.store(folder)?;
        let listed = store
            .list(Some(&path))
            .map_ok(|meta| Object { location: folder.sibling(&meta.location), meta });
        let mut objects: Vec<Object> =
            listed.try_collect().await.map_err(|error| failed(folder, &error))?;
        objects.sort_by(|one, other| one.location.cmp(&other.location));
        Ok(objects)
    }

    /// The bytes of an object.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is none; [`Kind::Unavailable`] when the store does not answer
    /// or denies access.
    pub async fn read(&self, location: &Location) -> Result<Bytes> {
        let (store, path) = self.store(location)?;
        let read = async { store.get(&path).await?.bytes().await };
        read.await.map_err(|error| failed(location, &error))
    }

    /// The digest of an object's bytes, which are read in pieces.
    ///
    /// # Errors
    /// Those of [`Storage::read`].
    pub async fn digest(&self, location: &Location) -> Result<Digest> {
        let (store, path) = self.store(location)?;
        let outcome = |error| failed(location, &error);
        let object = store.get(&path).await.map_err(outcome)?;
        if let GetResultPayload::File(file, _) = object.payload {
            let hashed = tokio::task::spawn_blocking(move || digest_of_file(file)).await;
            let hashed = hashed.map_err(|error| Error::internal(error.to_string()))?;
            return hashed.context(|| location.to_string());
        }
        let mut pieces = object.into_stream();
        let mut hasher = Hasher::default();
        while let Some(piece) = pieces.try_next().await.map_err(outcome)? {
            hasher.update(&piece);
        }
        Ok(hasher.finish())
    }
}

fn digest_of_file(mut file: File) -> Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The error for a location whose store refused or did not answer.
pub fn failed(location: &Location, error: &object_store::Error) -> Error {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => Error::not_found(format!("{location} does not exist")),
        _ if is_denial(error) => Error::unavailable(format!(
            "{location}: access was denied, at the first attempt: {}",
            root(error)
        ))
        .with_hint("credentials come from the environment, or from the variables that [storage] in unskew.toml names"),
        E::Precondition { .. } => {
            Error::conflict(format!("{location} changed while it was read"))
        }
        _ => Error::new(
            Kind::Unavailable,
            format!("{location}: no answer after {}: {}", attempts(&error.to_string()), root(error)),
        ),
    }
}

/// Whether a store denied access; listings do not say so by the kind of their errors.
fn is_denial(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    match error {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => true,
        E::Generic { .. } => {
            let text = error.to_string();
            ["401", "403"].iter().any(|code| text.contains(&format!("status code: {code} ")))
        }
        _ => false,
    }
}

/// How often a request was made, out of the message of a client that tells how often it was
/// repeated.
fn attempts(message: &str) -> String {
    let retries = message.split_once(", after ").and_then(|(_, rest)| rest.split_once(" retries"));
    match retries.and_then(|(count, _)| count.parse::<u32>().ok()) {
        Some(retries) => format!("{} attempts", retries + 1),
        None => "1 attempt".to_owned(),
    }
}

/// The cause at the bottom of an error, in one line.
fn root(error: &dyn std::error::Error) -> String {
    let deepest = std::iter::successors(Some(error), |error| error.source()).last();
    let text = deepest.map_or_else(|| error.to_string(), ToString::to_string);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    #[tokio::test]
    async fn files_are_found_listed_read_and_hashed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b%20 [x]")).unwrap();
        std::fs::write(folder.path().join("b%20 [x]/two"), "2").unwrap();
        std::fs::write(folder.path().join("a"), "1").unwrap();
        let storage = Storage::default();
        let at = |name: &str| Location::parse(name, folder.path()).unwrap();
        let listed = storage.list(&at("")).await.unwrap();
        let names: Vec<_> = listed.iter().map(|object| object.location.clone()).collect();
        assert_eq!(names, [at("a"), at("b%20 [x]/two")]);
        assert_eq!(storage.find(&at("b%20 [x]/two")).await.unwrap().unwrap().meta.size, 1);
        assert_eq!(storage.find(&at("c")).await.unwrap(), None);
        assert_eq!(storage.read(&at("a")).await.unwrap(), "1");
        assert_eq!(storage.digest(&at("a")).await.unwrap(), Digest::of("1"));
        assert_eq!(storage.digest(&at("c")).await.unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn denials_of_listings_are_known_by_their_text() {
        for (code, expect) in [("403 Forbidden", true), ("401 x", true), ("500 x", false)] {
            let source = format!("Server returned non-2xx status code: {code}: no").into();
            assert_eq!(is_denial(&object_store::Error::Generic { store: "S3", source }), expect);
        }
    }

    #[test]
    fn attempts_are_counted() {
        assert_eq!(attempts("Error in 1s, after 3 retries, max_retries: 3"), "4 attempts");
        assert_eq!(attempts("Error in 1s - no"), "1 attempt");
    }

    fn object(size: u64, millis: i64, etag: Option<&str>, version: Option<&str>) -> Object {
        let meta = ObjectMeta {
            location: Path::from("key"),
            last_modified: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis),
            size,
            e_tag: etag.map(str::to_owned),
            version: version.map(str::to_owned),
        };
        Object { location: Location::parse("s3://bucket/key", "/".as_ref()).unwrap(), meta }
    }

    #[test]
    fn an_object_is_still_what_it_was_however_much_the_store_says_of_it() {
        let check = |before: Object, now: Object, is_still: bool| {
            assert_eq!(now.is_still(&before), is_still, "{before:?} and {now:?}");
        };
        let (a, b) = (Some("\"a\""), Some("\"b\""));
        check(object(1, 0, a, None), object(1, 0, a, None), true);
        check(object(1, 0, a, None), object(2, 0, a, None), false);
        check(object(1, 0, a, None), object(1, 0, b, None), false);
        // As stores list objects, and as they tell of one.
        check(object(1, 0, a, None), object(1, 0, a, Some("7")), true);
        check(object(1, 0, Some("a"), None), object(1, 0, a, None), true);
        check(object(1, 1_234, a, None), object(1, 1_000, a, None), true);
        check(object(1, 1_234, None, None), object(1, 1_000, None, None), true);
        check(object(1, 1_234, None, None), object(1, 2_234, None, None), false);
        // The same bytes, written once more.
        check(object(1, 0, a, Some("7")), object(1, 0, a, Some("8")), false);
    }
}
