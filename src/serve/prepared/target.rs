//! The features of an answer, and where their values come from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{array::new_null_array, buffer::NullBuffer};

use super::{
    Gathered,
    stored::{Found, Group},
};
use crate::{
    definition::retrieval::Output,
    error::{Error, Result},
    evaluate::InForce,
    serve::{AnswerFeature, Status, Values},
    value::DataType,
};

/// A feature of the answer.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) feature: Arc<AnswerFeature>,
    /// The stored views that its values come from.
    pub(super) reads: BTreeSet<String>,
    origin: Origin,
    pub(super) name: Arc<str>,
    data_type: DataType,
    pub(super) has_default: bool,
    /// What stands where there is no value, as JSON: the default, or null.
    missing: Arc<[u8]>,
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
            feature: Arc::new(AnswerFeature {
                reference: reference.clone(),
                fingerprint: fingerprint.to_string(),
            }),
            name: output.name.as_str().into(),
            data_type: output.feature.data_type,
            has_default: default.is_some(),
            missing: default
                .map_or(NULL.into(), |value| value.json().to_string().into_bytes().into()),
            meters: meters.unwrap_or_default(),
        })
    }
}

/// What stands for null where no default is declared.
const NULL: &[u8] = b"null";

impl Target {
    /// What was found of the view, where it is a stored one.
    pub(super) fn stored<'a>(&self, found: &'a [Found]) -> Option<&'a Found> {
        match self.origin {
            Origin::Stored { view, .. } => found.get(view),
            Origin::Computed(_) => None,
        }
    }

    pub(super) fn values(&self, gathered: &Gathered<'_>, lost: bool) -> Result<Values> {
        if lost {
            // No default stands for what may well be there.
            let (data_type, rows) = (self.data_type.to_arrow(), gathered.entities.rows);
            return Ok(Values::Array(new_null_array(&data_type, rows)));
        }
        let lacking = || Error::internal(format!("there is no {}", self.feature.reference));
        match &self.origin {
            Origin::Stored { view, column } => {
                let found = gathered.found.get(*view).ok_or_else(lacking)?;
                Ok(Values::Stored {
                    features: Arc::clone(&found.features),
                    column: *column,
                    missing: Arc::clone(&self.missing),
                })
            }
            Origin::Computed(name) => {
                let computed = gathered.computed.as_ref();
                let column = computed.and_then(|computed| computed.batch.column_by_name(name));
                Ok(Values::Array(Arc::clone(column.ok_or_else(lacking)?)))
            }
        }
    }

    /// What became of each row, from how its view's row was found; the same list where nothing
    /// more is to be said.
    pub(super) fn statuses(
        &self,
        gathered: &Gathered<'_>,
        present: &Arc<Vec<Status>>,
    ) -> Arc<Vec<Status>> {
        match (&self.origin, &gathered.computed) {
            (Origin::Stored { view, column }, _) => {
                let Some(found) = gathered.found.get(*view) else { return Arc::clone(present) };
                let mut statuses = Arc::clone(&found.statuses);
                if let Some(nulls) = found.features.nulls(*column) {
                    mark_null(&mut statuses, nulls);
                }
                statuses
            }
            (Origin::Computed(name), Some(computed)) => {
                let mut statuses = Arc::clone(present);
                if let Some(missing) = computed.missing.get(name) {
                    mark_null(&mut statuses, nulls(missing));
                }
                for error in computed.errors.get(&self.feature.reference.view).into_iter().flatten()
                {
                    if let Some(status) = Arc::make_mut(&mut statuses).get_mut(error.row as usize) {
                        *status = Status::Invalid;
                    }
                }
                statuses
            }
            (Origin::Computed(_), None) => Arc::clone(present),
        }
    }
}

fn nulls(values: &NullBuffer) -> impl Iterator<Item = bool> {
    values.iter().map(|there| !there)
}

fn mark_null(statuses: &mut Arc<Vec<Status>>, nulls: impl Iterator<Item = bool>) {
    let statuses: &mut Vec<Status> = Arc::make_mut(statuses);
    for (status, null) in statuses.iter_mut().zip(nulls) {
        if *status == Status::Present && null {
            *status = Status::NullValue;
        }
    }
}
