//! From a training dataset that is being made to its manifest.

use std::collections::BTreeMap;

use super::{
    Content, EntitiesRecord, Manifest, ManifestColumn, RequestRecord, Sources, TableVersion,
    TrainingRequest, inputs::Hashed, manifest::FORMAT,
};
use crate::{
    definition::retrieval::{Retrieval, Wanted},
    digest::Digest,
    error::{Error, Result},
    evaluate::InForce,
    time::Timestamp,
};

/// What the dataset of a request says of itself.
pub(super) fn manifest(
    in_force: &InForce,
    sources: &Sources,
    retrieval: &Retrieval<'_>,
    request: &TrainingRequest,
    inputs: Hashed,
    now: Timestamp,
    content: &Content,
) -> Result<Manifest> {
    let columns = columns(in_force, retrieval)?;
    let roots: Vec<Digest> = columns.values().map(|column| column.fingerprint).collect();
    let service = match &request.wanted {
        Wanted::Service(name) => Some(name.clone()),
        Wanted::Features(_) => None,
    };
    let read = retrieval.views.iter().map(|read| read.view.source.as_str());
    let folder = &sources.places().folder;
    let tables = sources.delta_versions(read)?.into_iter().map(|(source, table)| {
        let path = table.location.relative_to(folder);
        (source, TableVersion { path, version: table.version })
    });
    Ok(Manifest {
        format: FORMAT,
        project: in_force.project.clone(),
        snapshot: in_force.sequence,
        created_at: now,
        runtime: in_force.runtime.clone(),
        request: RequestRecord {
            entities: EntitiesRecord::File(inputs.entities),
            timestamp_column: request.timestamp_column.clone(),
            service,
            features: retrieval.outputs.iter().map(|output| output.reference.clone()).collect(),
            full_names: request.full_names,
        },
        inputs: inputs.sources,
        tables: tables.collect(),
        rows: content.rows,
        content_hash: content.hash,
        columns,
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
