//! Where something is.

use std::{
    fmt, io,
    path::{Component, Path, PathBuf},
};

use object_store::path::Path as ObjectPath;

use crate::error::{Error, Result};

/// The schemes of URLs that can be used, and what stands behind each.
const SCHEMES: &[(&str, &str)] = &[
    ("s3", "Amazon S3 and stores like it"),
    ("gs", "Google Cloud Storage"),
    ("az", "Azure Blob Storage"),
    ("abfss", "Azure Data Lake"),
    ("file", "a path on this machine"),
];

/// A place: a path on this machine, or a key in a bucket of an object store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// An absolute path, without `.` and `..`.
    Local(PathBuf),
    /// An object, or what is before its name.
    Remote {
        /// Scheme and bucket: `s3://bucket`.
        bucket: String,
        /// The key, without a slash at either end.
        key: String,
    },
}

impl Location {
    /// The place that a text names: a URL, or a path, which is relative to `folder`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when it is a URL that cannot be used.
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::of_path(&folder.join(text));
        };
        let unusable = |why: &str| {
            let known: Vec<_> =
                SCHEMES.iter().map(|(scheme, what)| format!("{scheme}:// ({what})")).collect();
            Error::invalid(format!("{text} cannot be used: {why}"))
                .with_hint(format!("a place is a path, or a URL: {}", known.join(", ")))
        };
        if scheme == "file" {
            return match rest.starts_with('/') {
                true => Ok(Self::Local(plain(Path::new(rest)))),
                false => Err(unusable("the path behind file:// has to be absolute")),
            };
        }
        if !SCHEMES.iter().any(|(known, _)| *known == scheme) {
            return Err(unusable(&format!("there is no scheme {scheme}")));
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(unusable("it names no bucket"));
        }
        Ok(Self::Remote {
            bucket: format!("{scheme}://{bucket}"),
            key: key.trim_matches('/').to_owned(),
        })
    }

    /// The place of a path, which is relative to the folder that the process is in.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when the path is empty.
    pub fn of_path(path: &Path) -> Result<Self> {
        Ok(Self::Local(absolute(path)?))
    }

    /// What it is in: `s3://bucket`, or `file://`.
    pub fn bucket(&self) -> &str {
        match self {
            Self::Local(_) => "file://",
            Self::Remote { bucket, .. } => bucket,
        }
    }

    /// Whether it is on this machine: its path.
    pub fn local(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            Self::Remote { .. } => None,
        }
    }

    /// The place of this name below it.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Local(path) => Self::Local(path.join(name)),
            Self::Remote { bucket, key } if key.is_empty() => {
                Self::Remote { bucket: bucket.clone(), key: name.to_owned() }
            }
            Self::Remote { bucket, key } => {
                Self::Remote { bucket: bucket.clone(), key: format!("{key}/{name}") }
            }
        }
    }

    /// The last part of its path.
    pub fn name(&self) -> &str {
        match self {
            Self::Local(path) => path.file_name().and_then(|name| name.to_str()).unwrap_or(""),
            Self::Remote { key, .. } => key.rsplit('/').next().unwrap_or(key),
        }
    }

    /// The parts of its path behind that of `folder`; `None` where it is not below it.
    pub fn below<'a>(&'a self, folder: &Self) -> Option<Vec<&'a str>> {
        match (self, folder) {
            (Self::Local(path), Self::Local(folder)) => {
                let parts = path.strip_prefix(folder).ok()?.components();
                parts.map(|part| part.as_os_str().to_str()).collect()
            }
            (Self::Remote { bucket, key }, Self::Remote { bucket: other, key: folder })
                if bucket == other =>
            {
                let rest = match folder.as_str() {
                    "" => key,
                    folder => key.strip_prefix(folder)?.strip_prefix('/')?,
                };
                Some(rest.split('/').collect())
            }
            _ => None,
        }
    }

    /// As it is written down: a URL, or a path, which is relative where it is below `folder`.
    pub fn relative_to(&self, folder: &Path) -> String {
        let Self::Local(path) = self else {
            return self.to_string();
        };
        let folder = absolute(folder);
        let below = folder.as_ref().ok().and_then(|folder| path.strip_prefix(folder).ok());
        below.unwrap_or(path).display().to_string()
    }

    /// Its path in the store that it is in.
    pub(super) fn object_path(&self) -> Result<ObjectPath> {
        let path = match self {
            Self::Local(path) => ObjectPath::from_absolute_path(path),
            Self::Remote { key, .. } => ObjectPath::parse(key),
        };
        path.map_err(|error| Error::invalid(format!("{self} is no path: {error}")))
    }

    /// The place of a path in the same store.
    pub(super) fn sibling(&self, path: &ObjectPath) -> Self {
        match self {
            Self::Local(_) => Self::Local(Path::new("/").join(path.as_ref())),
            Self::Remote { bucket, .. } => {
                Self::Remote { bucket: bucket.clone(), key: path.to_string() }
            }
        }
    }
}

/// Text in which `%` and two hexadecimal digits stand for a byte.
pub(crate) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let byte = match (first, tail.get(..2)) {
            (b'%', Some(digits)) => {
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).ok().map(|()| byte[0])
            }
            _ => None,
        };
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A path from the root, without `.` and `..`.
pub(crate) fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path).map(|path| plain(&path))
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// The path, or the URL.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Remote { bucket, key } => write!(f, "{bucket}/{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        let check = |text: &str, bucket: &str, shown: &str| {
            let location = Location::parse(text, Path::new("/project")).unwrap();
            assert_eq!((location.bucket(), location.to_string().as_str()), (bucket, shown));
            let again = location.relative_to(Path::new("/project"));
            assert_eq!(
                Location::parse(&again, Path::new("/project")).unwrap(),
                location,
                "{again}"
            );
        };
        check("data/a.parquet", "file://", "/project/data/a.parquet");
        check("./data/../a b%20.parquet", "file://", "/project/a b%20.parquet");
        check("/elsewhere/x", "file://", "/elsewhere/x");
        check("file:///elsewhere/x", "file://", "/elsewhere/x");
        check("s3://bucket/some/key/", "s3://bucket", "s3://bucket/some/key");
        check("gs://bucket", "gs://bucket", "gs://bucket/");
        let here = std::env::current_dir().unwrap();
        let above = Location::of_path(Path::new("../data/a.parquet")).unwrap();
        assert_eq!(above, Location::Local(here.parent().unwrap().join("data/a.parquet")));
        let inside = Location::parse("data/a", Path::new("/project")).unwrap();
        assert_eq!(inside.relative_to(Path::new("/project")), "data/a");
        assert_eq!(inside.relative_to(Path::new("/other")), "/project/data/a");
    }

    #[test]
    fn other_urls_are_refused_with_what_can_be_used() {
        for (text, expect) in [
            ("ftp://host/x", "there is no scheme ftp"),
            ("s3:///x", "it names no bucket"),
            ("file://x", "has to be absolute"),
        ] {
            let error = Location::parse(text, Path::new("/")).unwrap_err().to_string();
            assert!(error.contains(expect) && error.contains("gs:// (Google"), "{error}");
        }
    }

    #[test]
    fn parts_below_a_folder() {
        let at = |text: &str| Location::parse(text, Path::new("/p")).unwrap();
        assert_eq!(at("a/x=1/b").below(&at("a")), Some(vec!["x=1", "b"]));
        assert_eq!(at("s3://b/a/x=1/b").below(&at("s3://b/a")), Some(vec!["x=1", "b"]));
        assert_eq!(at("s3://b/ab/c").below(&at("s3://b/a")), None);
        assert_eq!(at("s3://b/a").join("c").to_string(), "s3://b/a/c");
    }

    #[test]
    fn escapes_stand_for_bytes() {
        for (text, expect) in [("a%20b", "a b"), ("%", "%"), ("%zz%41", "%zzA"), ("%C3%9F", "ß")] {
            assert_eq!(unescape(text), expect);
        }
    }
}
