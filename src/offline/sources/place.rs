//! What a path stands for: a file, every Parquet file of a folder, or all that a pattern matches.
//!
//! ```text
//! data/orders.parquet          a file
//! data/orders                  every .parquet file in it and below it
//! data/2024-*/part-?.parquet   what matches; ** matches any number of folders
//! data/orders/day=1/x.parquet  below a folder, day=1 is the value of a column (Hive's layout)
//! ```
//! Names that start with a dot or an underscore are passed over, as everybody does.

use glob::{MatchOptions, Pattern};

use crate::{
    error::{Error, Result},
    storage::{Location, Object, Storage},
};

/// The file that a folder holds while a run of ours writes to it.
pub(in crate::offline) const UNFINISHED: &str = "_unfinished.json";

/// The folder of the log that makes a folder a Delta table.
const DELTA_LOG: &str = "_delta_log";

/// A file of a source.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) object: Object,
    /// What the names of the folders around it say of its rows.
    pub(super) partition: Vec<(String, Option<String>)>,
}

/// What a path stands for.
pub(super) enum Place {
    /// Files, in the order of their paths.
    Files(Vec<Found>),
    /// A Delta table.
    Delta,
}

/// Looks up what a path stands for. A name that exists is meant as it stands, whatever characters
/// are in it; otherwise it may be a pattern.
pub(super) async fn look_up(storage: &Storage, location: &Location) -> Result<Place> {
    if location.local().is_some_and(std::path::Path::is_dir) {
        return folder(storage, location).await;
    }
    if let Some(object) = storage.find(location).await? {
        return Ok(Place::Files(vec![Found { object, partition: Vec::new() }]));
    }
    if let Some((base, pattern)) = pattern(location)? {
        return matching(storage, location, &base, &pattern).await;
    }
    if location.local().is_some() {
        return Err(Error::not_found(format!(
            "{location} cannot be read: No such file or directory"
        )));
    }
    folder(storage, location).await
}

/// The folder that the files are in that a path stands for: the folder itself, or what is before the
/// first wildcard.
pub(in crate::offline) fn base(location: &Location) -> Result<Location> {
    if location.local().is_some_and(std::path::Path::is_dir) {
        return Ok(location.clone());
    }
    Ok(pattern(location)?.map_or_else(|| location.clone(), |(base, _)| base))
}

/// Whether a file would be among those that a path stands for, which are not one alone.
pub(in crate::offline) fn would_take(location: &Location, file: &Location) -> Result<bool> {
    let base = base(location)?;
    let Some(parts) = file.below(&base) else { return Ok(false) };
    if base == *location {
        return Ok(is_taken(&parts, |_| true));
    }
    let pattern = pattern(location)?;
    let wanted = |parts: &[&str]| pattern.iter().any(|(_, pattern)| matches(pattern, parts));
    Ok(is_taken(&parts, wanted))
}

async fn folder(storage: &Storage, folder: &Location) -> Result<Place> {
    let objects = storage.list(folder).await?;
    let below = |object: &Object, name: &str| {
        object.location.below(folder).is_some_and(|parts| parts.first() == Some(&name))
    };
    if objects.iter().any(|object| below(object, DELTA_LOG)) {
        return Ok(Place::Delta);
    }
    refuse_unfinished(&objects)?;
    let found = files(objects, folder, |_| true);
    if found.is_empty() {
        return Err(Error::not_found(format!("the folder {folder} has no Parquet files"))
            .with_hint(
                "their names end in .parquet and do not start with a dot or an underscore",
            ));
    }
    Ok(Place::Files(found))
}

async fn matching(
    storage: &Storage,
    location: &Location,
    base: &Location,
    pattern: &Pattern,
) -> Result<Place> {
    let objects = storage.list(base).await?;
    refuse_unfinished(&objects)?;
    let found = files(objects, base, |parts| matches(pattern, parts));
    if found.is_empty() {
        return Err(Error::not_found(format!("no Parquet file matches {location}"))
            .with_hint("* and ? stand for what is in one name, ** for any number of folders"));
    }
    Ok(Place::Files(found))
}

/// Whether a pattern matches a path, or a folder that it is in: one that matches stands for the
/// files in it.
fn matches(pattern: &Pattern, parts: &[&str]) -> bool {
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    (1..=parts.len()).any(|end| pattern.matches_with(&parts[..end].join("/"), options))
}

/// The folder before the first name with a wildcard, and the pattern from there on.
fn pattern(location: &Location) -> Result<Option<(Location, Pattern)>> {
    let (base, text) = match location {
        Location::Local(path) => (Location::Local("/".into()), path.display().to_string()),
        Location::Remote { bucket, key } => {
            (Location::Remote { bucket: bucket.clone(), key: String::new() }, key.clone())
        }
    };
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    let Some(first) = parts.iter().position(|part| part.contains(['*', '?', '['])) else {
        return Ok(None);
    };
    let pattern = Pattern::new(&parts[first..].join("/"))
        .map_err(|error| Error::invalid(format!("{location} is no pattern: {error}")))?;
    Ok(Some((parts[..first].iter().fold(base, |base, part| base.join(part)), pattern)))
}

/// The Parquet files among the objects below `base` whose paths are wanted.
fn files(objects: Vec<Object>, base: &Location, wanted: impl Fn(&[&str]) -> bool) -> Vec<Found> {
    let found = objects.into_iter().filter_map(|object| {
        let parts = object.location.below(base)?;
        if !is_taken(&parts, &wanted) {
            return None;
        }
        let (_, folders) = parts.split_last()?;
        let partition = folders.iter().filter_map(|folder| value_of(folder)).collect();
        Some(Found { object, partition })
    });
    found.collect()
}

/// Whether this path below a folder is that of a Parquet file that is not hidden, and wanted.
fn is_taken(parts: &[&str], wanted: impl Fn(&[&str]) -> bool) -> bool {
    let hidden = parts.iter().any(|part| part.starts_with(['.', '_']));
    !hidden && parts.last().is_some_and(|name| name.ends_with(".parquet")) && wanted(parts)
}

/// What a folder's name says, in Hive's way: a column and its value.
fn value_of(folder: &str) -> Option<(String, Option<String>)> {
    let (column, value) = folder.split_once('=')?;
    let value = (value != HIVE_NULL).then(|| crate::storage::unescape(value));
    Some((crate::storage::unescape(column), value))
}

/// What stands for null in the name of a folder.
pub(in crate::offline) const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// A folder that a run of ours has not finished is no source: its rows are not all there.
fn refuse_unfinished(objects: &[Object]) -> Result<()> {
    match objects.iter().find(|object| object.location.name() == UNFINISHED) {
        Some(object) => Err(Error::invalid(format!(
            "the folder is not complete: {} says that a run is still writing to it, or was cut off",
            object.location
        ))
        .with_hint("run the same command again: it completes the folder")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_the_next_look_would_find() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let at = |text: &str| Location::parse(text, folder.path()).unwrap();
        let check = |path: &str, file: &str, expected: bool| {
            assert_eq!(would_take(&at(path), &at(file)), Ok(expected), "{file} in {path}");
        };
        check("data", "data/out.parquet", true);
        check("data", "data/out/day=1/x.parquet", true);
        check("data", "data/_out/x.parquet", false);
        check("data", "data/out/x.csv", false);
        check("data", "out/x.parquet", false);
        check("data/*.parquet", "data/out.parquet", true);
        check("data/*.parquet", "data/out/x.parquet", false);
        check("data/**/*.parquet", "data/out/x.parquet", true);
        check("data/day=*", "data/out/day=1/x.parquet", false);
        check("data/x.parquet", "data/x.parquet", false);
        check("s3://lake/data", "data/x.parquet", false);
    }
}
