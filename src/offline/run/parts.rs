//! A folder of parts: one for each file, made side by side; those that are complete are kept.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    slice,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use super::{
    Input, Ran, Run, make_folder,
    record::{PART_KEY, Part, PartRecord, begin, complete, is_begun},
    rows::rows,
};
use crate::{
    digest::Digest,
    error::{Context as _, Error, Result},
    offline::{Content, Progress, RowErrors, SourceFile, inputs::refuse_changed, write_parquet},
    storage::{Location, Object},
};

/// A part of the folder, and whether it was there already.
struct Done {
    part: Part,
    kept: bool,
}

impl Run {
    /// Writes the folder.
    pub(super) async fn write_folder(self, base: &Location, progress: Progress) -> Result<Ran> {
        make_folder(&self.output)?;
        let paths: Vec<String> =
            self.inputs.iter().map(|input| part_path(&input.object, base)).collect();
        let stale = self.stale_parts(paths.iter().map(String::as_str).collect()).await?;
        begin(&self.output, &self.identity)?;
        let at_once = self.opened.sources.partitions();
        // Several files at once, or several pieces of the only one.
        let ahead = at_once / self.inputs.len().max(1);
        let parts = self.inputs.iter().zip(paths).map(|(input, path)| {
            let progress = Progress::clone(&progress);
            self.part(input, path, ahead, progress)
        });
        let parts = stream::iter(parts.collect::<Vec<_>>()).buffer_unordered(at_once);
        let mut done: Vec<Done> = parts.try_collect().await?;
        done.sort_by(|one, other| one.part.path.cmp(&other.part.path));
        for path in stale {
            std::fs::remove_file(&path).context(|| path.display().to_string())?;
        }
        let kept = done.iter().filter(|done| done.kept).count();
        let parts: Vec<Part> = done.into_iter().map(|done| done.part).collect();
        let ran = summary(&parts, kept)?;
        complete(&self.output, &self.identity, parts)?;
        Ok(ran)
    }

    /// The parts in the folder of files that are no longer there.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when the folder has Parquet files that no run made.
    async fn stale_parts(&self, expected: BTreeSet<&str>) -> Result<Vec<PathBuf>> {
        let folder = Location::parse(
            &std::path::absolute(&self.output)?.display().to_string(),
            "/".as_ref(),
        )?;
        let mut stale = Vec::new();
        for object in self.opened.sources.places().storage.list(&folder).await? {
            let path = object.location.below(&folder).map(|parts| parts.join("/"));
            let (Some(path), Some(file)) = (path, object.location.local()) else { continue };
            if !path.ends_with(".parquet")
                || is_begun(&self.output) && expected.contains(path.as_str())
            {
                continue;
            }
            if !is_begun(&self.output) || PartRecord::read(file).is_none() {
                return Err(Error::invalid(format!(
                    "{} has a Parquet file that no run has made: {path}",
                    self.output.display()
                ))
                .with_hint("name another folder, or an empty one"));
            }
            stale.push(file.to_owned());
        }
        Ok(stale)
    }

    async fn part(
        &self,
        input: &Input,
        path: String,
        ahead: usize,
        progress: Progress,
    ) -> Result<Done> {
        let file = self.output.join(&path);
        if let Some(record) = PartRecord::read(&file)
            && self.is_made_of(&record, input).await?
        {
            progress(record.rows);
            return Ok(Done { part: part(path, record), kept: true });
        }
        make_folder(file.parent().unwrap_or(&self.output))?;
        let record = self.make(input, &file, ahead, progress).await?;
        Ok(Done { part: part(path, record), kept: false })
    }

    /// Whether a part was made of an input as it is now.
    async fn is_made_of(&self, record: &PartRecord, input: &Input) -> Result<bool> {
        let now = self.source_file(&input.object);
        let then = &record.input;
        let alike = record.run == self.identity
            && record.limit == input.limit
            && record.columns == self.columns()
            && (&then.path, then.size) == (&now.path, now.size);
        if !alike || (then.modified, &then.etag) == (now.modified, &now.etag) {
            return Ok(alike);
        }
        // Written again, maybe with the same bytes: a copy, a checkout.
        let storage = &self.opened.sources.places().storage;
        Ok(then.hash == Some(storage.digest(&input.object.location).await?))
    }

    async fn make(
        &self,
        input: &Input,
        file: &Path,
        ahead: usize,
        progress: Progress,
    ) -> Result<PartRecord> {
        let storage = self.opened.sources.places().storage.clone();
        let (rows, errors) = rows(&self.opened, input.pieces.clone(), ahead, progress)?;
        let location = input.object.location.clone();
        let hashing = {
            let storage = storage.clone();
            tokio::spawn(async move { storage.digest(&location).await })
        };
        let mut made = None;
        let metadata = async |content: &Content| {
            let hash = hashing.await.map_err(|error| Error::internal(error.to_string()))??;
            refuse_changed(&storage, &input.object).await?;
            let record = PartRecord {
                run: self.identity.clone(),
                input: SourceFile { hash: Some(hash), ..self.source_file(&input.object) },
                limit: input.limit,
                columns: self.columns(),
                rows: content.rows,
                content_hash: content.hash,
                row_errors: errors.take(),
            };
            let text = serde_json::to_string(&record)
                .map_err(|error| Error::internal(format!("a record has no JSON form: {error}")))?;
            made = Some(record);
            Ok(vec![(PART_KEY.to_owned(), text)])
        };
        let written = write_parquet(rows, file, metadata).await;
        self.settle(written, slice::from_ref(input)).await?;
        made.ok_or_else(|| Error::internal("a part has no record"))
    }

    fn source_file(&self, object: &Object) -> SourceFile {
        SourceFile::of(object, &self.opened.sources.places().folder)
    }

    /// The columns of a part, and their types.
    fn columns(&self) -> Vec<(String, String)> {
        let fields = self.opened.schema.fields().iter();
        fields.map(|field| (field.name().clone(), field.data_type().to_string())).collect()
    }
}

/// Where the part of a file is: as the file itself is in its folder.
pub(super) fn part_path(object: &Object, base: &Location) -> String {
    match object.location.below(base).filter(|parts| !parts.is_empty()) {
        Some(parts) => parts.join("/"),
        None => object.location.name().to_owned(),
    }
}

fn part(path: String, record: PartRecord) -> Part {
    let PartRecord { input, limit, rows, content_hash, row_errors, .. } = record;
    Part { path, input, limit, rows, content_hash, row_errors }
}

fn summary(parts: &[Part], kept: usize) -> Result<Ran> {
    let hashes = parts.iter().map(|part| json!([part.path, part.content_hash]));
    let mut row_errors = RowErrors::default();
    for part in parts {
        row_errors.merge(&part.row_errors);
    }
    Ok(Ran {
        rows: parts.iter().map(|part| part.rows).sum(),
        hash: Digest::of_canonical_json(&json!(hashes.collect::<Vec<_>>()))?,
        row_errors,
        parts: Some((parts.len() - kept, kept)),
    })
}
