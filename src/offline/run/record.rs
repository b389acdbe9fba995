//! What a folder of parts, and each part, says of how it was made.
//!
//! ```text
//! _unfinished.json   while a run writes to the folder: which run
//! _run.json          once it is complete: which run, and its parts
//! *.parquet          the parts; each carries its record in its metadata
//! ```
//! A part and its record become visible together, so that there is no moment at which a part is
//! there and nothing says what it is.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use super::Function;
use crate::{
    definition::{OnError, fingerprint::RuntimeRef},
    digest::Digest,
    error::{Context as _, Error, Result},
    offline::{RowErrors, SourceFile, read_metadata, sources::UNFINISHED},
    storage::Draft,
    value::Scalar,
};

/// The file that a complete folder holds.
const COMPLETE: &str = "_run.json";

/// The key of the record in the metadata of a part.
pub(super) const PART_KEY: &str = "unskew.part";

/// What makes two runs the same: which function over which files, apart from what is in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The digest of the transform.
    transform: Digest,
    function: String,
    runtime: RuntimeRef,
    params: BTreeMap<String, Scalar>,
    /// The column for each input of the function.
    columns: BTreeMap<String, String>,
    on_error: OnError,
    /// The path, pattern or URL of the input.
    input: String,
}

impl Identity {
    pub(super) fn of(function: &Function, input: String) -> Self {
        let binding = &function.binding;
        Self {
            transform: function.transform.digest(),
            function: binding.function.clone(),
            runtime: function.runtime.clone(),
            params: binding.params.clone(),
            columns: binding.inputs.clone(),
            on_error: binding.on_error,
            input,
        }
    }

    /// What differs, and how it was and is.
    fn differences(&self, now: &Self) -> Vec<String> {
        let (then, now) = (json!(self), json!(now));
        let fields = then.as_object().into_iter().flatten();
        let differing = fields.filter(|(field, value)| now[field.as_str()] != **value);
        differing
            .map(|(field, value)| format!("{field} was {value} and is {}", now[field.as_str()]))
            .collect()
    }
}

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PartRecord {
    pub(super) run: Identity,
    /// The file that it was made of, as it was.
    pub(super) input: SourceFile,
    /// How many of its rows were asked for, where not all of them were.
    pub(super) limit: Option<u64>,
    /// The columns and their types.
    pub(super) columns: Vec<(String, String)>,
    pub(super) rows: u64,
    pub(super) content_hash: Digest,
    pub(super) row_errors: RowErrors,
}

impl PartRecord {
    /// The record of the part at `path`; `None` where there is no part, or one that cannot be read.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(read_metadata(path).ok()?.get(PART_KEY)?).ok()
    }
}

/// A part of a complete folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Its path in the folder.
    pub(super) path: String,
    pub(super) input: SourceFile,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<u64>,
    pub(super) rows: u64,
    pub(super) content_hash: Digest,
    pub(super) row_errors: RowErrors,
}

/// What a folder says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct FolderRecord {
    format: u32,
    run: Identity,
    /// Those of a complete folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
}

/// Says that a run writes to the folder.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when the folder is that of another run.
pub(super) fn begin(folder: &Path, run: &Identity) -> Result<()> {
    for name in [UNFINISHED, COMPLETE] {
        let Some(held) = read::<FolderRecord>(&folder.join(name))? else { continue };
        let differences = held.run.differences(run);
        if !differences.is_empty() {
            return Err(Error::invalid(format!(
                "{} holds the parts of another run: {}",
                folder.display(),
                differences.join("; ")
            ))
            .with_hint("name another folder, or delete this one"));
        }
    }
    write(
        &folder.join(UNFINISHED),
        &FolderRecord { format: 1, run: run.clone(), parts: Vec::new() },
    )
}

/// Whether a run has written, or begun to write, to the folder.
pub(super) fn is_begun(folder: &Path) -> bool {
    [UNFINISHED, COMPLETE].iter().any(|name| folder.join(name).exists())
}

/// Says that the folder is complete with these parts.
pub(super) fn complete(folder: &Path, run: &Identity, parts: Vec<Part>) -> Result<()> {
    write(&folder.join(COMPLETE), &FolderRecord { format: 1, run: run.clone(), parts })?;
    let unfinished = folder.join(UNFINISHED);
    std::fs::remove_file(&unfinished).context(|| unfinished.display().to_string())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::from(error).context(path.display())),
    };
    let parsed = serde_json::from_slice(&text);
    parsed
        .map(Some)
        .map_err(|error| Error::corrupt(format!("{} cannot be read: {error}", path.display())))
}

fn write(path: &Path, record: &impl Serialize) -> Result<()> {
    let outcome = || format!("{} was not written", path.display());
    let mut draft = Draft::create(path).context(outcome)?;
    serde_json::to_writer_pretty(&mut draft, record)
        .map_err(|error| Error::unavailable(error.to_string()).context(outcome()))?;
    draft.finish().context(outcome)
}
