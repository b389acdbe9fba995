//! How fresh a view is: by some of its rows, and by how far it is materialized.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::{
    definition::Freshness,
    error::Result,
    evaluate::InForce,
    materialize::{Ledgers, ViewWriter},
    online::{FingerprintPrefix, Stores, ViewId, value_fingerprint},
    registry::Registry,
    time::{Span, Timestamp},
};

/// What a monitor looks at.
#[derive(Debug, Clone)]
pub struct Monitor {
    /// Where the rows are.
    pub stores: Stores,
    /// Where it is written down how far views are materialized.
    pub registry: Registry,
}

/// Whether the rows of a view are young enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// They are.
    Fresh,
    /// More than 5 % of those that were looked at are too old, or the view has not been
    /// materialized up to a moment that is recent enough.
    Stale,
    /// There is no row that could be served.
    NoData,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::Stale, Self::NoData];

    /// The state as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::NoData => "no_data",
        }
    }
}

/// How fresh a view is. In JSON, spans are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// The state.
    pub state: State,
    /// Why it is not fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How old rows may be.
    #[serde(rename = "threshold_seconds", serialize_with = "seconds")]
    pub threshold: Span,
    /// How many rows were looked at.
    pub sampled: usize,
    /// How many of those are not served, since another definition of the view made them.
    pub other_definition: usize,
    /// The age of the oldest of those that are served, by event time.
    #[serde(rename = "max_age_seconds", serialize_with = "optional_seconds")]
    pub max_age: Option<Span>,
    /// The age that 95 % of them do not exceed.
    #[serde(rename = "p95_age_seconds", serialize_with = "optional_seconds")]
    pub p95_age: Option<Span>,
    /// The watermark of the materializer: every source row with an event time up to here was read.
    /// None where the view was not materialized, but only pushed to.
    pub through: Option<Timestamp>,
    /// How long ago that is.
    #[serde(rename = "watermark_age_seconds", serialize_with = "optional_seconds")]
    pub watermark_age: Option<Span>,
}

fn seconds<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(in_seconds(*span))
}

fn optional_seconds<S: Serializer>(span: &Option<Span>, serializer: S) -> Result<S::Ok, S::Error> {
    span.map(in_seconds).serialize(serializer)
}

/// A span in seconds.
pub(super) fn in_seconds(span: Span) -> f64 {
    span.0 as f64 / 1e6
}

impl Monitor {
    /// How fresh each view is that says how fresh it should be. What keeps one from being measured
    /// says nothing of another.
    pub async fn measure(
        &self,
        in_force: &InForce,
        now: Timestamp,
    ) -> BTreeMap<String, Result<Measured>> {
        let mut measured = BTreeMap::new();
        for (name, view) in &in_force.state.definitions.feature_views {
            if let Some(freshness) = view.freshness {
                measured
                    .insert(name.clone(), self.measure_view(in_force, name, freshness, now).await);
            }
        }
        measured
    }

    async fn measure_view(
        &self,
        in_force: &InForce,
        name: &str,
        freshness: Freshness,
        now: Timestamp,
    ) -> Result<Measured> {
        let writer = ViewWriter::new(in_force, name)?;
        let (definition, project) = (writer.definition(), &in_force.project);
        let store = self.stores.get(writer.store())?.as_ref();
        let mut ledgers = Ledgers::new(project, name, &self.registry, writer.store(), store);
        // What was materialized under another definition is not served.
        let ledger = ledgers.current().await?.filter(|ledger| ledger.definition == definition);
        // Other rows each time.
        let seed = now.0.cast_unsigned();
        let view = ViewId::of(project, name);
        let rows = store.sample(view, freshness.sample as usize, seed).await?;
        let served = FingerprintPrefix::from(&definition);
        let mut events = Vec::with_capacity(rows.len());
        for (_, row) in rows.iter() {
            if value_fingerprint(row.value)? == served {
                events.push(row.version.event);
            }
        }
        let through = ledger.and_then(|ledger| ledger.through);
        Ok(Measured::of(events, rows.len(), through, freshness.max_age, now))
    }
}

impl Measured {
    /// How fresh a view is, of which `sampled` rows were looked at and those with these event times
    /// are served.
    fn of(
        events: Vec<Timestamp>,
        sampled: usize,
        through: Option<Timestamp>,
        threshold: Span,
        now: Timestamp,
    ) -> Self {
        // A row from the future, by clocks that differ, is as young as can be.
        let age = |event: Timestamp| Span(now.0.saturating_sub(event.0).max(0));
        let mut ages: Vec<Span> = events.into_iter().map(age).collect();
        ages.sort_unstable_by_key(|age| age.0);
        // The nearest rank: of fewer than twenty rows, the oldest.
        let rank = (ages.len() * 95).div_ceil(100).saturating_sub(1);
        let mut measured = Self {
            state: State::Fresh,
            reason: None,
            threshold,
            sampled,
            other_definition: sampled - ages.len(),
            max_age: ages.last().copied(),
            p95_age: ages.get(rank).copied(),
            through,
            watermark_age: through.map(age),
        };
        if let Some((state, reason)) = measured.judge() {
            measured.state = state;
            measured.reason = Some(reason);
        }
        measured
    }

    /// What is wrong, if anything is.
    fn judge(&self) -> Option<(State, String)> {
        let old = |age: &Option<Span>| {
            age.filter(|age| age.0 > self.threshold.0).map(Span::in_whole_seconds)
        };
        let Some(p95) = self.p95_age.map(Span::in_whole_seconds) else {
            let reason = match self.sampled {
                0 => "the online store has no row".to_owned(),
                rows => format!("all of {rows} rows were made by another definition of the view"),
            };
            return Some((State::NoData, reason));
        };
        if let Some(age) = old(&self.watermark_age) {
            let reason = format!("not materialized beyond {age} ago");
            return Some((State::Stale, reason));
        }
        let _ = old(&self.p95_age)?;
        Some((State::Stale, format!("rows are older than {p95}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    const NOW: Timestamp = Timestamp(1000 * HOUR);

    fn ago(hours: i64) -> Timestamp {
        Timestamp(NOW.0 - hours * HOUR)
    }

    fn measured(ages: &[i64], others: usize, through: Option<i64>) -> Measured {
        let events = ages.iter().map(|hours| ago(*hours)).collect();
        let threshold = Span(24 * HOUR);
        Measured::of(events, ages.len() + others, through.map(ago), threshold, NOW)
    }

    #[test]
    fn states() {
        let check = |ages: &[i64], others, through, state, reason: Option<&str>| {
            let measured = measured(ages, others, through);
            assert_eq!((measured.state, measured.reason.as_deref()), (state, reason), "{ages:?}");
        };
        check(&[], 0, None, State::NoData, Some("the online store has no row"));
        check(&[], 0, Some(1), State::NoData, Some("the online store has no row"));
        let other = "all of 3 rows were made by another definition of the view";
        check(&[], 3, None, State::NoData, Some(other));
        check(&[1, 24], 0, None, State::Fresh, None);
        check(&[1, -24], 0, Some(24), State::Fresh, None);
        check(&[25, 1], 3, Some(0), State::Stale, Some("rows are older than 1d1h"));
        check(&[1, 1], 0, Some(25), State::Stale, Some("not materialized beyond 1d1h ago"));
        // One row of twenty may be older; two may not.
        let mut ages = [1; 20];
        ages[7] = 100;
        check(&ages, 0, None, State::Fresh, None);
        ages[0] = 99;
        check(&ages, 0, None, State::Stale, Some("rows are older than 4d3h"));
    }

    #[test]
    fn ages() {
        let hours = |span: Option<Span>| span.map(|span| span.0 / HOUR);
        let ages: Vec<i64> = (1..=100).rev().collect();
        let of_hundred = measured(&ages, 7, Some(3));
        assert_eq!((hours(of_hundred.max_age), hours(of_hundred.p95_age)), (Some(100), Some(95)));
        assert_eq!((of_hundred.sampled, of_hundred.other_definition), (107, 7));
        assert_eq!(hours(of_hundred.watermark_age), Some(3));
        let of_three = measured(&[1, 2, 3], 0, None);
        assert_eq!((hours(of_three.max_age), hours(of_three.p95_age)), (Some(3), Some(3)));
        assert_eq!(measured(&[-5], 0, Some(-5)).max_age, Some(Span(0)));
    }
}
