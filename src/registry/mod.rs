//! The registry: published transforms, and every state of the definitions that ever was in force.
//!
//! Plain objects that are created once and never replaced, so that any number of processes may
//! write at a time without a server between them, and any state can be read again. What a name
//! stands for never changes; what is in force changes by creating the snapshot with the next
//! number, which only one process can do.
//!
//! Ledgers of the materializer are kept here too, created once as all else; they alone go away.

mod cases;
mod invariants;
mod ledgers;
mod objects;
mod paths;
mod report;

use std::{collections::BTreeMap, path::Path, time::Duration};

use bytes::Bytes;
use rand::{TryRng as _, rngs::SysRng};
use serde::{Deserialize, Serialize};

use crate::{
    definition::State,
    digest::Digest,
    error::{Error, Kind, Result, did_you_mean},
    name::TransformName,
    storage::{Location, Storage},
    time::Timestamp,
};
pub use cases::Case;
pub use ledgers::LedgerKey;
use objects::{Created, Objects};
pub use report::{Checked, Cost, FunctionCheck, Growth, PublishReport, Rate};

/// How often a commit is tried when others are faster.
const ATTEMPTS: u32 = 32;

/// Everything that was in force from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The version of this format: 1.
    pub format: u32,
    /// Its number, from 1, without gaps.
    pub sequence: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// The definitions and pinned transforms.
    pub state: State,
}

/// How a publication ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The name is new, and stands for the component from now on.
    New,
    /// The name stood for these very bytes before.
    Already,
}

/// What a name stands for, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NameRecord {
    digest: Digest,
    published_at: Timestamp,
    /// The digest of its golden cases, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cases: Option<Digest>,
}

/// A registry.
#[derive(Debug, Clone)]
pub struct Registry {
    objects: Objects,
}

impl Registry {
    /// The registry in a folder, which is made if need be.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self { objects: Objects::in_folder(folder)? })
    }

    /// The registry at a location: in a folder, which is made if need be, or in a bucket.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the folder cannot be used; [`Kind::Invalid`] when the settings do
    /// not do for a connection. Whether a bucket answers, and creates objects once, is seen when it
    /// is used.
    pub fn at(location: &Location, storage: &Storage) -> Result<Self> {
        match location.local() {
            Some(folder) => Self::open(folder),
            None => Ok(Self { objects: Objects::in_bucket(location, storage)? }),
        }
    }

    /// The bytes of a component.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none of this digest, [`Kind::Corrupt`] when what is there
    /// has another one.
    pub async fn component(&self, digest: &Digest) -> Result<Bytes> {
        let path = paths::component(digest);
        let bytes = self.objects.read(&path).await?;
        let bytes =
            bytes.ok_or_else(|| Error::not_found(format!("the registry has no object {path}")))?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(Error::corrupt(format!(
                "the registry's object {path} is not what was published: its digest is {found}"
            ))
            .with_hint("restore the object from a copy; publishing again does not replace it"));
        }
        Ok(bytes)
    }

    /// What was found out about a component.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none of this digest, [`Kind::Corrupt`] when its report
    /// cannot be read.
    pub async fn report(&self, digest: &Digest) -> Result<PublishReport> {
        let path = paths::report(digest);
        let report = self.objects.read_json(&path).await?;
        report.ok_or_else(|| Error::not_found(format!("the registry has no object {path}")))
    }

    /// Makes a name stand for a component and its golden cases, for ever. These are stored before
    /// the name, so that whoever is cut off leaves no name without a component.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the name stands for another component, naming both digests;
    /// [`Kind::Internal`] when the report is of other bytes.
    pub async fn publish(
        &self,
        name: &TransformName,
        bytes: Bytes,
        report: PublishReport,
        cases: &[Case],
    ) -> Result<Published> {
        let digest = Digest::of(&bytes);
        if report.digest != digest {
            return Err(Error::internal(format!("a report of {} for {digest}", report.digest)));
        }
        if let Some(record) = self.record(name).await? {
            return already(name, &record, &digest);
        }
        if self.objects.create(&paths::component(&digest), bytes).await? == Created::Before {
            self.component(&digest).await?;
        }
        self.objects.create_json(&paths::report(&digest), &report).await?;
        let cases = self.keep_cases(cases).await?;
        let record = NameRecord { digest, published_at: report.published_at, cases };
        match self.objects.create_json(&paths::transform(name), &record).await? {
            Created::Now => Ok(Published::New),
            // Somebody else published this name in between.
            Created::Before => match self.record(name).await? {
                Some(record) => already(name, &record, &digest),
                None => Err(Error::unavailable(format!("{name} was published and is gone"))),
            },
        }
    }

    async fn keep_cases(&self, cases: &[Case]) -> Result<Option<Digest>> {
        let Some(json) = cases::to_json(cases)? else { return Ok(None) };
        let digest = Digest::of(&json);
        self.objects.create(&paths::cases(&digest), json.into()).await?;
        Ok(Some(digest))
    }

    /// Whether these are the golden cases that a name was published with, where it is published.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when what the name stands for cannot be read.
    pub async fn has_cases(&self, name: &TransformName, cases: &[Case]) -> Result<bool> {
        let kept = self.record(name).await?.and_then(|record| record.cases);
        Ok(kept == cases::to_json(cases)?.map(Digest::of))
    }

    /// The golden cases that a name was published with; none where it is not published.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when they are not what was stored.
    pub async fn cases(&self, name: &TransformName) -> Result<Vec<Case>> {
        let Some(digest) = self.record(name).await?.and_then(|record| record.cases) else {
            return Ok(Vec::new());
        };
        let path = paths::cases(&digest);
        let bytes = self.objects.read(&path).await?.unwrap_or_default();
        if Digest::of(&bytes) != digest {
            return Err(Error::corrupt(format!(
                "the registry's object {path} is not what was published with {name}"
            )));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::corrupt(format!("the registry's object {path} cannot be read: {error}"))
        })
    }

    /// What a name stands for: nothing where it is free.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when it stands for another component than this; [`Kind::Corrupt`] when
    /// it cannot be read.
    pub async fn is_published(&self, name: &TransformName, digest: &Digest) -> Result<bool> {
        match self.record(name).await? {
            None => Ok(false),
            Some(record) => already(name, &record, digest).map(|_| true),
        }
    }

    /// The highest version below this one of the same transform, where there is one.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the names cannot be listed.
    pub async fn version_before(&self, name: &TransformName) -> Result<Option<TransformName>> {
        let published = self.names().await?;
        let same = published.into_iter().filter(|other| other.unversioned() == name.unversioned());
        let before = same.filter(|other| other.version < name.version);
        Ok(before.max_by(|one, two| one.version.cmp(&two.version)))
    }

    async fn record(&self, name: &TransformName) -> Result<Option<NameRecord>> {
        self.objects.read_json(&paths::transform(name)).await
    }

    /// The digest of the component that a name stands for.
    ///
    /// # Errors
    /// [`Kind::NotFound`], with the versions there are, or the nearest name.
    pub async fn resolve(&self, name: &TransformName) -> Result<Digest> {
        match self.record(name).await? {
            Some(record) => Ok(record.digest),
            None => Err(self.no_such(name).await?),
        }
    }

    async fn no_such(&self, name: &TransformName) -> Result<Error> {
        let published = self.names().await?;
        let error = Error::not_found(format!("{name} is not published"));
        let same = published.iter().filter(|other| other.unversioned() == name.unversioned());
        let versions: Vec<String> = same.map(|other| other.version.to_string()).collect();
        if versions.is_empty() {
            let names: Vec<String> = published.iter().map(ToString::to_string).collect();
            return Ok(
                error.with_hint(did_you_mean(&name.to_string(), names.iter().map(String::as_str)))
            );
        }
        Ok(error.with_hint(format!(
            "{} has the versions {}",
            name.unversioned(),
            versions.join(", ")
        )))
    }

    async fn names(&self) -> Result<Vec<TransformName>> {
        let listed = self.objects.list(&paths::transforms()).await?;
        let mut names: Vec<_> = listed.iter().filter_map(paths::transform_name).collect();
        names.sort();
        Ok(names)
    }

    /// Every published name, and the digest of the component that it stands for.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when one cannot be read.
    pub async fn list_transforms(&self) -> Result<BTreeMap<TransformName, Digest>> {
        let mut transforms = BTreeMap::new();
        for name in self.names().await? {
            if let Some(record) = self.record(&name).await? {
                transforms.insert(name, record.digest);
            }
        }
        Ok(transforms)
    }

    /// What is in force now; `None` before the first commit.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when it cannot be read.
    pub async fn newest(&self) -> Result<Option<Snapshot>> {
        match self.newest_sequence().await? {
            Some(sequence) => self.snapshot(sequence).await.map(Some),
            None => Ok(None),
        }
    }

    /// The number of what is in force now; `None` before the first commit.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the registry cannot be read.
    pub async fn newest_sequence(&self) -> Result<Option<u64>> {
        let listed = self.objects.list(&paths::snapshots()).await?;
        Ok(listed.iter().filter_map(paths::sequence).max())
    }

    /// What was in force after the commit of this number.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none, [`Kind::Corrupt`] when it cannot be read.
    pub async fn snapshot(&self, sequence: u64) -> Result<Snapshot> {
        let path = paths::snapshot(sequence);
        let snapshot: Option<Snapshot> = self.objects.read_json(&path).await?;
        let snapshot = snapshot
            .ok_or_else(|| Error::not_found(format!("the registry has no object {path}")))?;
        if (snapshot.sequence, snapshot.format) != (sequence, 1) {
            return Err(Error::corrupt(format!(
                "the registry's object {path} says it is snapshot {} of format {}",
                snapshot.sequence, snapshot.format
            )));
        }
        Ok(snapshot)
    }

    /// Puts what `next` makes of the newest snapshot into force, as the snapshot after it; nothing
    /// changes where it makes `None`. When somebody else was faster, `next` is asked again about
    /// what they put into force.
    ///
    /// # Errors
    /// Those of `next`; [`Kind::Conflict`] when others were faster time and again;
    /// [`Kind::Internal`] when the invariants do not hold.
    pub async fn commit(
        &self,
        now: Timestamp,
        mut next: impl FnMut(Option<&Snapshot>) -> Result<Option<State>>,
    ) -> Result<Option<Snapshot>> {
        for attempt in 0..ATTEMPTS {
            let newest = self.newest().await?;
            let Some(state) = next(newest.as_ref())? else {
                return Ok(None);
            };
            let sequence = newest.as_ref().map_or(1, |newest| newest.sequence + 1);
            let snapshot = Snapshot { format: 1, sequence, created_at: now, state };
            invariants::check(newest.as_ref(), &snapshot)?;
            if self.objects.create_json(&paths::snapshot(sequence), &snapshot).await?
                == Created::Now
            {
                return Ok(Some(snapshot));
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        Err(Error::new(
            Kind::Conflict,
            format!("nothing applied: others were faster {ATTEMPTS} times"),
        )
        .with_hint("try again"))
    }
}

fn already(name: &TransformName, record: &NameRecord, digest: &Digest) -> Result<Published> {
    if record.digest == *digest {
        return Ok(Published::Already);
    }
    Err(Error::conflict(format!(
        "{name} not published: it stands for {} since {}, and these bytes are {digest}",
        record.digest, record.published_at
    ))
    .with_hint("what a version stands for never changes: publish these as a higher one"))
}

/// A random pause, longer the more often somebody else was faster.
fn pause(attempt: u32) -> Duration {
    let most = 1_u64 << attempt.min(7);
    // Without randomness the pause is the longest: slower, and as right.
    let random = SysRng.try_next_u64().unwrap_or(u64::MAX);
    Duration::from_millis(1 + random % most)
}

#[cfg(test)]
mod tests;
