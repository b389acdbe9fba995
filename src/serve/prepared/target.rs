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
    serve::{AnswerFeature, Provenance, Status, StoredColumn, Values},
    value::DataType,
};

/// A feature of the answer.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) feature: AnswerFeature,
    /// The stored views that its values come from, with their places.
    reads: BTreeMap<String, usize>,
    origin: Origin,
    pub(super) name: String,
    data_type: DataType,
    pub(super) has_default: bool,
    /// The place of the meters of its view.
    pub(super) meters: usize,
}

/// Where the values of a feature come from.
#[derive(Debug)]
enum Origin {
    /// A stored view.
    Stored(StoredColumn),
    /// An on-demand step, under this name among the working columns.
    Computed(String),
}

/// A plan in the making: what targets are bound to.
pub(super) struct Planned<'a> {
    /// The stored views that the features of each view come from.
    pub(super) reads: BTreeMap<&'a str, BTreeSet<&'a str>>,
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
        let stored = || self.groups.iter().flat_map(|group| &group.views).enumerate();
        let default = output.feature.default.as_ref();
        let origin = match stored().find(|(_, view)| view.name == reference.view) {
            Some((place, view)) => Origin::Stored(StoredColumn {
                view: place,
                column: view.column(reference)?,
                missing: default.map_or(NULL.to_vec(), |value| value.json().to_string().into()),
            }),
            None => Origin::Computed(reference.to_string()),
        };
        let reads = self.reads.get(reference.view.as_str());
        let is_read = |view: &str| reads.is_some_and(|reads| reads.contains(view));
        let reads = stored().filter(|(_, view)| is_read(&view.name));
        let meters = self.views.iter().position(|view| *view == reference.view);
        Ok(Target {
            origin,
            reads: reads.map(|(place, view)| (view.name.clone(), place)).collect(),
            feature: AnswerFeature {
                reference: reference.clone(),
                fingerprint: fingerprint.to_string(),
            },
            name: output.name.clone(),
            data_type: output.feature.data_type,
            has_default: default.is_some(),
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
        !lost.is_empty() && self.reads.keys().any(|view| lost.contains_key(view))
    }

    pub(super) fn values(&self, gathered: &Gathered<'_>) -> Result<Values<'_>> {
        if self.is_lost(gathered) {
            // No default stands for what may well be there.
            let (data_type, rows) = (self.data_type.to_arrow(), gathered.entities.rows);
            return Ok(Values::Array(new_null_array(&data_type, rows)));
        }
        match &self.origin {
            Origin::Stored(stored) => Ok(Values::Stored(stored)),
            Origin::Computed(name) => {
                let computed = gathered.computed.as_ref();
                let computed = computed.ok_or_else(|| Error::internal("nothing was computed"))?;
                Ok(Values::Array(Arc::clone(computed.columns.column(name)?)))
            }
        }
    }

    /// The rows of the views it reads that another definition computed: what is computed from such
    /// a row is no more of the definition in force than the row is.
    fn read_of_other_definition(&self, gathered: &Gathered<'_>) -> BTreeSet<u32> {
        let read = self.reads.values().map(|place| &gathered.provenances[*place]);
        read.flat_map(|provenance| &provenance.computed_by_other_definition).copied().collect()
    }

    /// The place of what became of each row, where nothing more is to be said.
    pub(super) fn provenance(&self, gathered: &Gathered<'_>) -> usize {
        match &self.origin {
            Origin::Stored(stored) => stored.view,
            Origin::Computed(_) => gathered.computed_now(),
        }
    }

    /// What became of each row, where more is to be said than at [`Target::provenance`].
    pub(super) fn other_provenance(&self, gathered: &Gathered<'_>) -> Option<Provenance> {
        let usual = || gathered.provenances[self.provenance(gathered)].clone();
        if self.is_lost(gathered) {
            let mut other = usual();
            other.statuses.fill(Status::Invalid);
            other.computed_by_other_definition = self.read_of_other_definition(gathered);
            return Some(other);
        }
        match (&self.origin, &gathered.computed) {
            (Origin::Stored(stored), _) => {
                let nulls = gathered.found[stored.view].nulls(stored.column)?;
                let mut other = usual();
                mark_null(&mut other, nulls);
                Some(other)
            }
            (Origin::Computed(name), Some(computed)) => {
                let missing = computed.missing.get(name);
                let errors = computed.errors.get(&self.feature.reference.view);
                let others = self.read_of_other_definition(gathered);
                if missing.is_none() && errors.is_none() && others.is_empty() {
                    return None;
                }
                let mut other = Provenance { computed_by_other_definition: others, ..usual() };
                if let Some(missing) = missing {
                    mark_null(&mut other, missing.iter().map(|there| !there));
                }
                for error in errors.into_iter().flatten() {
                    if let Some(status) = other.statuses.get_mut(error.row as usize) {
                        *status = Status::Invalid;
                    }
                }
                Some(other)
            }
            (Origin::Computed(_), None) => None,
        }
    }
}

fn mark_null(provenance: &mut Provenance, nulls: impl Iterator<Item = bool>) {
    for (status, null) in provenance.statuses.iter_mut().zip(nulls) {
        if *status == Status::Present && null {
            *status = Status::NullValue;
        }
    }
}
