//! What makes two fingerprints differ.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Documents;
use crate::digest::Digest;

/// A place at which the documents of two fingerprints differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The way there, through documents: `inputs.registered_at.rows.transform.digest`. Empty when
    /// the documents of the fingerprints themselves are not there to be compared.
    pub path: String,
    /// What it was; null where there was nothing.
    pub was: Value,
    /// What it is; null where there is nothing.
    pub is: Value,
    /// What kind of change it is.
    pub class: Class,
}

/// What kind of change a [`Difference`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Another function computes it, or other bytes of the same one.
    Transform,
    /// It is declared otherwise.
    Definition,
    /// Another runtime runs it.
    Runtime,
}

/// `path: was → is`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Value| match value {
            Value::Null => "nothing".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let path = match self.path.as_str() {
            "" => "fingerprint",
            path => path,
        };
        write!(f, "{path}: {} → {}", show(&self.was), show(&self.is))
    }
}

/// The differences between what `trained` and `now` are the fingerprints of, in the order of their
/// paths; none where they are equal. What two paths lead to is told once, for the shorter path.
///
/// The documents are taken for what their digests say: [`check_documents`](super::check_documents)
/// tells whether they are. Where one is not there, the difference is that of the digests.
pub fn explain(
    trained: &Digest,
    trained_documents: &Documents,
    now: &Digest,
    now_documents: &Documents,
) -> Vec<Difference> {
    let mut walk = Walk {
        documents: (trained_documents, now_documents),
        waiting: VecDeque::from([(String::new(), (*trained, *now))]),
        seen: BTreeSet::new(),
        differences: Vec::new(),
    };
    while let Some((path, pair)) = walk.waiting.pop_front() {
        if pair.0 != pair.1 && walk.seen.insert(pair) {
            walk.documents(&path, pair);
        }
    }
    walk.differences.sort_by(|a, b| a.path.cmp(&b.path));
    walk.differences
}

struct Walk<'a> {
    documents: (&'a Documents, &'a Documents),
    /// Pairs of documents to compare, and the way to them.
    waiting: VecDeque<(String, (Digest, Digest))>,
    seen: BTreeSet<(Digest, Digest)>,
    differences: Vec<Difference>,
}

impl Walk<'_> {
    fn documents(&mut self, path: &str, (was, is): (Digest, Digest)) {
        let found = (self.documents.0.get(&was), self.documents.1.get(&is));
        let (Some(Value::Object(was)), Some(Value::Object(is))) = found else {
            let (was, is) = (Value::String(was.to_string()), Value::String(is.to_string()));
            return self.differ(path, Class::Definition, &was, &is);
        };
        // Documents of two kinds differ in everything: the kinds say it all.
        if was.get("kind") != is.get("kind") {
            return self.entry(path, "kind", Class::Definition, was, is);
        }
        for key in keys(was, is) {
            let class = match key {
                "transform" => Class::Transform,
                "runtime" => Class::Runtime,
                _ => Class::Definition,
            };
            self.entry(path, key, class, was, is);
        }
    }

    fn entry(
        &mut self,
        path: &str,
        key: &str,
        class: Class,
        was: &Map<String, Value>,
        is: &Map<String, Value>,
    ) {
        let path = match path {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        let (was, is) = (was.get(key), is.get(key));
        self.values(path, class, was.unwrap_or(&Value::Null), is.unwrap_or(&Value::Null));
    }

    fn values(&mut self, path: String, class: Class, was: &Value, is: &Value) {
        match (was, is) {
            _ if was == is => {}
            (Value::Object(was), Value::Object(is)) => {
                for key in keys(was, is) {
                    self.entry(&path, key, class, was, is);
                }
            }
            _ => match (reference(was, self.documents.0), reference(is, self.documents.1)) {
                (Some(was), Some(is)) => self.waiting.push_back((path, (was, is))),
                _ => self.differ(&path, class, was, is),
            },
        }
    }

    fn differ(&mut self, path: &str, class: Class, was: &Value, is: &Value) {
        self.differences.push(Difference {
            path: path.to_owned(),
            was: was.clone(),
            is: is.clone(),
            class,
        });
    }
}

/// The document that a value refers to.
fn reference(value: &Value, documents: &Documents) -> Option<Digest> {
    let digest = value.as_str()?.parse().ok()?;
    documents.contains_key(&digest).then_some(digest)
}

fn keys<'a>(a: &'a Map<String, Value>, b: &'a Map<String, Value>) -> BTreeSet<&'a str> {
    a.keys().chain(b.keys()).map(String::as_str).collect()
}
