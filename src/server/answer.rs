//! The body of an answer, written straight from its columns.
//!
//! [`OnlineFeatures`](super::OnlineFeatures) says what it is; a test reads it back as that.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    serve::{Answer, AnswerColumn, Status},
    time::Timestamp,
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
pub fn answer_body(answer: &Answer, snapshot: u64, remarks: &Remarks) -> Vec<u8> {
    let rows = answer.columns.first().map_or(0, |column| column.statuses.len());
    let mut body = Vec::with_capacity(512 + answer.columns.len() * (160 + rows * 48));
    let mut shared = Shared::default();
    body.extend_from_slice(b"{\"results\":");
    list(&mut body, &answer.columns, |body, column| write_result(body, column, &mut shared));
    body.extend_from_slice(b",\"metadata\":{\"feature_names\":");
    list(&mut body, &answer.columns, |body, column| text(body, &column.name));
    body.extend_from_slice(b",\"fingerprints\":");
    list(&mut body, &answer.columns, |body, column| match &column.feature {
        Some(feature) => text(body, &feature.fingerprint),
        None => body.extend_from_slice(b"null"),
    });
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
    body
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

/// Where in the body the times and statuses stand that many features of a view share: they are
/// copied instead of being written again.
#[derive(Default)]
struct Shared {
    times: Option<(*const Vec<Timestamp>, std::ops::Range<usize>)>,
    statuses: Option<(*const Vec<Status>, std::ops::Range<usize>)>,
}

fn write_result(body: &mut Vec<u8>, column: &AnswerColumn, shared: &mut Shared) {
    body.extend_from_slice(b"{\"values\":");
    column.values.write(body);
    body.extend_from_slice(b",\"statuses\":");
    once(body, &column.statuses, &mut shared.statuses, |body, status| {
        body.push(b'"');
        body.extend_from_slice(status.as_str().as_bytes());
        body.push(b'"');
    });
    body.extend_from_slice(b",\"event_timestamps\":");
    once(body, &column.event_timestamps, &mut shared.times, |body, time| {
        write_timestamp(*time, body);
    });
    if column.defaulted {
        body.extend_from_slice(b",\"defaulted\":true");
    }
    if !column.computed_by_other_definition.is_empty() {
        body.extend_from_slice(b",\"computed_by_other_definition\":");
        list(body, &*column.computed_by_other_definition, json);
    }
    body.push(b'}');
}

/// Writes a list, or copies it from where the same one stands already.
fn once<T>(
    body: &mut Vec<u8>,
    items: &Arc<Vec<T>>,
    before: &mut Option<(*const Vec<T>, std::ops::Range<usize>)>,
    write: impl Fn(&mut Vec<u8>, &T),
) {
    match before {
        // Both are held by the answer, so that equal addresses are one list.
        Some((list, text)) if *list == Arc::as_ptr(items) => body.extend_from_within(text.clone()),
        _ => {
            let start = body.len();
            list(body, &**items, write);
            *before = Some((Arc::as_ptr(items), start..body.len()));
        }
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

/// Writes a text; one that stands in JSON as it is, as names do, is copied in one piece.
fn text(body: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    // No early exit: a plain pass over the bytes is what the compiler turns into SIMD.
    if !text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        return json(body, text);
    }
    body.push(b'"');
    body.extend_from_slice(text.as_bytes());
    body.push(b'"');
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
        serve::{AnswerFeature, Status, Values},
        server::OnlineFeatures,
    };

    fn column(
        name: &str,
        view: Option<&str>,
        values: ArrayRef,
        like: &AnswerColumn,
    ) -> AnswerColumn {
        let feature = |view: &str| AnswerFeature {
            reference: format!("{view}:{name}").parse().unwrap(),
            fingerprint: format!("of {name}"),
        };
        AnswerColumn {
            name: name.into(),
            feature: view.map(|view| Arc::new(feature(view))),
            values: Values::Array(values),
            statuses: Arc::clone(&like.statuses),
            event_timestamps: Arc::clone(&like.event_timestamps),
            defaulted: false,
            computed_by_other_definition: Arc::default(),
        }
    }

    #[test]
    fn what_is_written_is_what_is_described() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let halves: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None]));
        let key = AnswerColumn {
            name: "id".into(),
            feature: None,
            values: Values::Array(Arc::clone(&ids)),
            statuses: Arc::new(vec![Status::Present, Status::Present]),
            event_timestamps: Arc::new(vec![Timestamp(0), Timestamp(0)]),
            defaulted: false,
            computed_by_other_definition: Arc::default(),
        };
        let first = AnswerColumn {
            defaulted: true,
            statuses: Arc::new(vec![Status::Present, Status::NullValue]),
            event_timestamps: Arc::new(vec![Timestamp(1), Timestamp(2_000_000)]),
            computed_by_other_definition: Arc::new(BTreeSet::from([1])),
            ..column("first", Some("a"), halves, &key)
        };
        let second = column("second", Some("a"), Arc::clone(&ids), &first);
        let third = column("third", Some("b"), Arc::clone(&ids), &key);
        let errors = vec![("b".to_owned(), 1, "no \"".to_owned())];
        let unavailable = [("c".to_owned(), "gone".to_owned())].into();
        let answer = Answer { columns: vec![key, first, second, third], errors, unavailable };
        let remarks = Remarks { views: true, warnings: ["old".to_owned()].into() };
        let body = answer_body(&answer, 7, &remarks);
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
