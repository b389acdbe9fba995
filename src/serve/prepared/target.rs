//! The features of an answer, and where their values come from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::array::new_null_array;

use super::{Gathered, stored::Group};
use crate::{
    definition::retrieval::Output,
    error::{Error, Result},
    evaluate::InForce,
    serve::{AnswerFeature, Provenance, Status, Values},
    value::DataType,
};

/// A feature of the answer.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) feature: AnswerFeature,
    /// The stored views that its values come from.
    pub(super) reads: BTreeSet<String>,
    origin: Origin,
    pub(super) name: String,
    data_type: DataType,
    pub(super) has_default: bool,
    /// What stands where there is no value, as JSON: the default, or null.
    missing: Vec<u8>,
    /// The place of the meters of its view.
    pub(super) meters: usize,
}

/// Where the values of a feature come from.
#[derive(Debug)]
enum Origin {
    /// A stored view, by its place among all of them, and a column of its rows.
    Stored { view: usize, column: usize },
    /// An on-demand step, under this name in the working batch.
    Computed(String),
}

/// A plan in the making: what targets are bound to.
pub(super) struct Planned<'a> {
    /// The stored views that the features of each view come from.
    pub(super) reads: BTreeMap<&'a str, BTreeSet<String>>,
    pub(super) groups: &'a [Group],
    /// The views of the outputs.
    pub(super) views: &'a BTreeSet<&'a str>,
}

impl Planned<'_> {
    pub(super) fn target(&self, output: &Output<'_>, in_force: &InForce) -> Result<Target> {
        let reference = &output.reference;
        let fingerprint = in_force
            .fingerprints
            .feature(reference)
            .ok_or_else(|| Error::internal(format!("feature {reference} has no fingerprint")))?;
        let mut stored = self.groups.iter().flat_map(|group| &group.views).enumerate();
        let origin = match stored.find(|(_, view)| view.name == reference.view) {
            Some((place, view)) => Origin::Stored { view: place, column: view.column(reference)? },
            None => Origin::Computed(reference.to_string()),
        };
        let default = output.feature.default.as_ref();
        let meters = self.views.iter().position(|view| *view == reference.view);
        Ok(Target {
            origin,
            reads: self.reads.get(reference.view.as_str()).cloned().unwrap_or_default(),
            feature: AnswerFeature {
                reference: reference.clone(),
                fingerprint: fingerprint.to_string(),
            },
            name: output.name.clone(),
            data_type: output.feature.data_type,
            has_default: default.is_some(),
            missing: default.map_or(NULL.to_vec(), |value| value.json().to_string().into_bytes()),
            meters: meters.unwrap_or_default(),
        })
    }
}

/// What stands for null where no default is declared.
const NULL: &[u8] = b"null";

impl Target {
    /// Whether a store that it needs has failed.
    pub(super) fn is_lost(&self, gathered: &Gathered<'_>) -> bool {
        let lost = &gathered.unavailable;
        !lost.is_empty() && self.reads.iter().any(|view| lost.contains_key(view))
    }

    pub(super) fn values(&self, gathered: &Gathered<'_>) -> Result<Values<'_>> {
        if self.is_lost(gathered) {
            // No default stands for what may well be there.
            let (data_type, rows) = (self.data_type.to_arrow(), gathered.entities.rows);
            return Ok(Values::Array(new_null_array(&data_type, rows)));
        }
        let lacking = || Error::internal(format!("there is no {}", self.feature.reference));
        match &self.origin {
            Origin::Stored { view, column } => {
                let found = gathered.found.get(*view).ok_or_else(lacking)?;
                let features = Arc::clone(&found.features);
                Ok(Values::Stored { features, column: *column, missing: &self.missing })
            }
            Origin::Computed(name) => {
                let computed = gathered.computed.as_ref();
                let column = computed.and_then(|computed| computed.batch.column_by_name(name));
                Ok(Values::Array(Arc::clone(column.ok_or_else(lacking)?)))
            }
        }
    }

    /// What became of each row, from how its view's row was found; the same where nothing more is
    /// to be said.
    pub(super) fn provenance(&self, gathered: &Gathered<'_>) -> Arc<Provenance> {
        let found = match self.origin {
            Origin::Stored { view, .. } => gathered.found.get(view),
            Origin::Computed(_) => None,
        };
        let mut provenance =
            Arc::clone(found.map_or(&gathered.computed_now, |found| &found.provenance));
        if self.is_lost(gathered) {
            Arc::make_mut(&mut provenance).statuses.fill(Status::Invalid);
            return provenance;
        }
        match (&self.origin, &gathered.computed) {
            (Origin::Stored { column, .. }, _) => {
                if let Some(nulls) = found.and_then(|found| found.features.nulls(*column)) {
                    mark_null(&mut provenance, nulls);
                }
            }
            (Origin::Computed(name), Some(computed)) => {
                if let Some(missing) = computed.missing.get(name) {
                    mark_null(&mut provenance, missing.iter().map(|there| !there));
                }
                for error in computed.errors.get(&self.feature.reference.view).into_iter().flatten()
                {
                    let statuses = &mut Arc::make_mut(&mut provenance).statuses;
                    if let Some(status) = statuses.get_mut(error.row as usize) {
                        *status = Status::Invalid;
                    }
                }
            }
            (Origin::Computed(_), None) => {}
        }
        provenance
    }
}

fn mark_null(provenance: &mut Arc<Provenance>, nulls: impl Iterator<Item = bool>) {
    let statuses = &mut Arc::make_mut(provenance).statuses;
    for (status, null) in statuses.iter_mut().zip(nulls) {
        if *status == Status::Present && null {
            *status = Status::NullValue;
        }
    }
}
