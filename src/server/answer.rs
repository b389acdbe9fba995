//! The body of an answer, written straight from its columns.
//!
//! [`OnlineFeatures`](super::OnlineFeatures) says what it is; a test reads it back as that.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    error::{Error, Result},
    serve::{Answer, AnswerColumn, Provenance},
    value::write_timestamp,
};

/// What stands in an answer besides the values.
#[derive(Debug, Default)]
pub struct Remarks {
    /// Whether the views are named.
    pub views: bool,
    /// What of the request was passed over.
    pub warnings: Arc<[String]>,
}

/// The body of an answer made from this snapshot: JSON.
///
/// # Errors
/// [`Kind::Limit`](crate::error::Kind::Limit) for one of more than so many bytes, before a column is
/// written that would make it so.
pub fn answer_body(
    answer: &Answer<'_>,
    snapshot: u64,
    remarks: &Remarks,
    limit: usize,
) -> Result<Vec<u8>> {
    let (columns, described) = (&answer.columns, answer.described);
    let size = described.names.len() + described.fingerprints.len();
    let size = 512 + size + columns.len() * (128 + answer.rows() * 48);
    let mut body = Vec::with_capacity(size.min(limit));
    let mut shared = None;
    body.extend_from_slice(b"{\"results\":[");
    for (place, column) in columns.iter().enumerate() {
        let size = body.len() + answer.size(column);
        if size > limit {
            let [limit, current, requested] = [limit, body.len(), size].map(|size| size as u64);
            return Err(Error::limit("bytes of an answer", limit, current, requested)
                .with_hint("ask for fewer entities or features at a time"));
        }
        if place > 0 {
            body.push(b',');
        }
        write_result(&mut body, answer, column, &mut shared);
    }
    body.push(b']');
    let keys: Vec<&str> = columns.iter().map_while(join_key).collect();
    body.extend_from_slice(b",\"metadata\":{\"feature_names\":");
    described_list(&mut body, &keys, json, &described.names);
    body.extend_from_slice(b",\"fingerprints\":");
    described_list(
        &mut body,
        &keys,
        |body, _| body.extend_from_slice(b"null"),
        &described.fingerprints,
    );
    body.extend_from_slice(b",\"snapshot\":");
    json(&mut body, &snapshot);
    if remarks.views {
        body.extend_from_slice(b",\"feature_view_metadata\":");
        list(&mut body, answer.views(), |body, view| {
            body.extend_from_slice(b"{\"name\":");
            json(body, view);
            body.extend_from_slice(b",\"version\":0}");
        });
    }
    if !remarks.warnings.is_empty() {
        body.extend_from_slice(b",\"warnings\":");
        json(&mut body, &*remarks.warnings);
    }
    body.push(b'}');
    if !answer.errors.is_empty() {
        body.extend_from_slice(b",\"row_errors\":");
        list(&mut body, &answer.errors, |body, (view, row, message)| {
            json(body, &RowError { view, row: *row, message });
        });
    }
    if !answer.unavailable.is_empty() {
        body.extend_from_slice(b",\"unavailable\":");
        list(&mut body, &answer.unavailable, |body, (view, message)| {
            json(body, &Unavailable { view, message });
        });
    }
    body.push(b'}');
    Ok(body)
}

#[derive(Serialize)]
struct Unavailable<'a> {
    view: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct RowError<'a> {
    view: &'a str,
    row: u32,
    message: &'a str,
}

/// The name of a column that is no feature.
fn join_key<'a>(column: &AnswerColumn<'a>) -> Option<&'a str> {
    column.feature.is_none().then_some(column.name)
}

/// A list of something about the join keys, and about the features as it was written before.
fn described_list(
    body: &mut Vec<u8>,
    keys: &[&str],
    mut write: impl FnMut(&mut Vec<u8>, &str),
    features: &[u8],
) {
    body.push(b'[');
    for key in keys {
        write(body, key);
        body.push(b',');
    }
    match features {
        [] if !keys.is_empty() => body.truncate(body.len() - 1),
        features => body.extend_from_slice(features),
    }
    body.push(b']');
}

/// Where in the body the provenance of the column before stands, and which it is: most features of a
/// view share it, and it is copied instead of being written again.
type Shared = Option<(usize, std::ops::Range<usize>)>;

fn write_result(
    body: &mut Vec<u8>,
    answer: &Answer<'_>,
    column: &AnswerColumn<'_>,
    shared: &mut Shared,
) {
    body.extend_from_slice(b"{\"values\":");
    answer.write_values(column, body);
    match shared {
        Some((known, text)) if *known == column.provenance => {
            body.extend_from_within(text.clone());
        }
        _ => {
            let start = body.len();
            write_provenance(body, answer.provenance(column));
            *shared = Some((column.provenance, start..body.len()));
        }
    }
    if column.defaulted {
        body.extend_from_slice(b",\"defaulted\":true");
    }
    body.push(b'}');
}

fn write_provenance(body: &mut Vec<u8>, provenance: &Provenance) {
    body.extend_from_slice(b",\"statuses\":");
    list(body, &provenance.statuses, |body, status| {
        body.push(b'"');
        body.extend_from_slice(status.as_str().as_bytes());
        body.push(b'"');
    });
    body.extend_from_slice(b",\"event_timestamps\":");
    list(body, &provenance.event_timestamps, |body, time| write_timestamp(*time, body));
    if !provenance.computed_by_other_definition.is_empty() {
        body.extend_from_slice(b",\"computed_by_other_definition\":");
        list(body, &provenance.computed_by_other_definition, json);
    }
}

fn list<T>(
    body: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    body.push(b'[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        write(body, item);
    }
    body.push(b']');
}

fn json(body: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Texts, numbers and lists of them are JSON, and a vector takes all that is written to it.
    let _ = serde_json::to_writer(body, value);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow::array::{ArrayRef, Float64Array, Int64Array};
    use serde_json::json;

    use super::*;
    use crate::{
        serve::{AnswerFeature, Described, Status, Values},
        server::OnlineFeatures,
        time::Timestamp,
    };

    fn feature(name: &str, view: &str) -> AnswerFeature {
        AnswerFeature {
            reference: format!("{view}:{name}").parse().unwrap(),
            fingerprint: format!("of {name}"),
        }
    }

    #[test]
    fn what_is_written_is_what_is_described() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let halves: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None]));
        let features = [feature("first", "a"), feature("second", "a"), feature("third", "b")];
        let described = Described::new(
            features.iter().map(|feature| (feature.reference.feature.as_str(), feature)),
        );
        let column = |name, feature, values: &ArrayRef, provenance| AnswerColumn {
            name,
            feature,
            values: Values::Array(Arc::clone(values)),
            provenance,
            defaulted: name == "first",
        };
        let [at_once, by_and_by] = [0, 1];
        let provenances = vec![
            Provenance::present(2, Timestamp(0)),
            Provenance {
                statuses: vec![Status::Present, Status::NullValue],
                event_timestamps: vec![Timestamp(1), Timestamp(2_000_000)],
                computed_by_other_definition: BTreeSet::from([1]),
            },
        ];
        let [first, second, third] = &features;
        let columns = vec![
            column("id", None, &ids, at_once),
            column("first", Some(first), &halves, by_and_by),
            column("second", Some(second), &ids, by_and_by),
            column("third", Some(third), &ids, at_once),
        ];
        let errors = vec![("b".to_owned(), 1, "no \"".to_owned())];
        let unavailable = [("c".to_owned(), "gone".to_owned())].into();
        let found = Vec::new();
        let described = &described;
        let answer = Answer { columns, found, provenances, described, errors, unavailable };
        let remarks = Remarks { views: true, warnings: ["old".to_owned()].into() };
        let body = answer_body(&answer, 7, &remarks, usize::MAX).unwrap();
        for limit in [0, body.len() / 2] {
            let refused = answer_body(&answer, 7, &remarks, limit).unwrap_err();
            let told = format!("bytes of an answer over the limit: limit {limit}, ");
            assert!(refused.message().starts_with(&told), "{refused}");
        }
        let read: OnlineFeatures = serde_json::from_slice(&body).unwrap();
        let values: Vec<_> = read.results.iter().map(|column| json!(column.values)).collect();
        assert_eq!(values, [json!([1, 2]), json!([0.5, null]), json!([1, 2]), json!([1, 2])]);
        let told = |place: usize| {
            let column = &read.results[place];
            (column.statuses.join(" "), column.event_timestamps.join(" "))
        };
        let epoch = "1970-01-01T00:00:00Z 1970-01-01T00:00:00Z";
        let times = "1970-01-01T00:00:00.000001Z 1970-01-01T00:00:02Z";
        assert_eq!(told(0), ("PRESENT PRESENT".to_owned(), epoch.to_owned()));
        assert_eq!(told(1), ("PRESENT NULL_VALUE".to_owned(), times.to_owned()));
        assert_eq!(told(2), told(1));
        assert_eq!(told(3), told(0));
        assert!(read.results[1].defaulted && !read.results[2].defaulted);
        assert_eq!(read.results[1].computed_by_other_definition, [1]);
        assert_eq!(read.metadata.feature_names, ["id", "first", "second", "third"]);
        assert_eq!(read.metadata.fingerprints[1].as_deref(), Some("of first"));
        assert_eq!((read.metadata.snapshot, read.metadata.warnings.len()), (7, 1));
        let views = read.metadata.feature_view_metadata.unwrap();
        let views: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
        assert_eq!(views, ["a", "b"]);
        assert_eq!(read.unavailable[0].message, "gone");
        assert_eq!((read.row_errors[0].row, read.row_errors[0].message.as_str()), (1, "no \""));
    }
}
