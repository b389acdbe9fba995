//! From a training dataset that is being made to its manifest.

use std::collections::BTreeMap;

use super::{
    ColumnStatistics, Content, EntitiesRecord, EntityOrigin, Manifest, ManifestColumn,
    RequestRecord, Sources, TableVersion, TrainingRequest, inputs::Hashed, manifest::FORMAT,
};
use crate::{
    definition::retrieval::{Retrieval, Wanted},
    digest::Digest,
    error::{Error, Result},
    evaluate::InForce,
    time::Timestamp,
};

/// A dataset that is being made, as far as the request does not tell it.
pub(super) struct Made<'a> {
    /// The sources that were read.
    pub(super) read: &'a [&'a str],
    /// The files that were read.
    pub(super) inputs: Hashed,
    pub(super) statistics: Vec<ColumnStatistics>,
    pub(super) content: Content,
    pub(super) now: Timestamp,
}

/// What the dataset of a request says of itself.
pub(super) fn manifest(
    in_force: &InForce,
    sources: &Sources,
    retrieval: &Retrieval<'_>,
    request: &TrainingRequest,
    made: Made<'_>,
) -> Result<Manifest> {
    let Made { read, inputs, statistics, content, now } = made;
    let columns = columns(in_force, retrieval)?;
    let roots: Vec<Digest> = columns.values().map(|column| column.fingerprint).collect();
    let service = match &request.wanted {
        Wanted::Service(name) => Some(name.clone()),
        Wanted::Features(_) => None,
    };
    let folder = &sources.places().folder;
    let tables =
        sources.delta_versions(read.iter().copied())?.into_iter().map(|(source, table)| {
            let path = table.location.relative_to(folder);
            (source, TableVersion { path, version: table.version })
        });
    let entities = match (&request.entities.origin, inputs.entities) {
        (EntityOrigin::File(_), Some(file)) => EntitiesRecord::File(file),
        (EntityOrigin::File(_) | EntityOrigin::Dataset(..), _) => {
            return Err(Error::internal("the entity dataframe is no file"));
        }
        (EntityOrigin::Sql(sql), _) => EntitiesRecord::Sql(sql.clone()),
    };
    Ok(Manifest {
        format: FORMAT,
        project: in_force.project.clone(),
        snapshot: in_force.sequence,
        created_at: now,
        runtime: in_force.runtime.clone(),
        request: RequestRecord {
            entities,
            names: request.entities.names.clone(),
            timestamp_column: request.entities.time.clone(),
            selection: request.entities.selection,
            service,
            features: retrieval.outputs.iter().map(|output| output.reference.clone()).collect(),
            full_names: request.full_names,
            partition_by: request.partition_by.clone(),
        },
        inputs: inputs.sources,
        tables: tables.collect(),
        rows: content.rows,
        content_hash: content.hash,
        columns,
        statistics,
        labels: in_force.fingerprints.labels().clone(),
        documents: in_force.fingerprints.closure(&roots),
    })
}

fn columns(
    in_force: &InForce,
    retrieval: &Retrieval<'_>,
) -> Result<BTreeMap<String, ManifestColumn>> {
    let column = |output: &crate::definition::retrieval::Output<'_>| {
        let fingerprint = in_force.fingerprints.feature(&output.reference).ok_or_else(|| {
            Error::internal(format!("feature {} has no fingerprint", output.reference))
        })?;
        let feature = output.reference.clone();
        Ok((output.name.clone(), ManifestColumn { feature, fingerprint }))
    };
    retrieval.outputs.iter().map(column).collect()
}
