//! The body of a request: read within its bounds, and parsed.

use std::{
    collections::BTreeMap,
    fmt, slice,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt as _;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    App,
    error::Failure,
    room::{Held, Room},
};
use crate::error::Error;

/// A body of JSON, and the room that it takes.
pub(super) struct JsonBody<T>(pub T, pub Held);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let path = request.uri().clone();
        refuse_other_types(request.headers())?;
        refuse_other_codings(request.headers())?;
        let mut held = Held::default();
        let bytes = read(request, app, &mut held).await?;
        let since = Instant::now();
        if bytes.len() > SMALL {
            let weight = weight_within(&bytes, app.settings.max_body_bytes)?;
            app.room.grow(&mut held, bytes.len() as u64 + weight)?;
        }
        let parsed = parse(&bytes);
        app.stages.parse.took(since);
        let body = parsed.map_err(|why| {
            let error =
                Error::invalid(format!("the body is not what {} takes: {why}", path.path()))
                    .with_hint("GET /openapi.json says what it takes");
            Failure::invalid(&error)
        })?;
        Ok(Self(body, held))
    }
}

/// What a body says, or why it says nothing. A list is no object, though its items could be taken for
/// the fields of one, in the order in which they happen to stand in the code.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    if text.trim_ascii_start().starts_with('[') {
        return Err("it is a list, and has to be an object".to_owned());
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// A page of another site may send any body but one that says it is JSON, unless it asks first: so
/// none is taken that does not.
fn refuse_other_types(headers: &HeaderMap) -> Result<(), Failure> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = said.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let error = Error::invalid(format!("the body's content-type is {essence:?}"))
        .with_hint("send JSON, with content-type: application/json");
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error))
}

/// Gzip is undone before a body comes here.
fn refuse_other_codings(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let error = Error::invalid(format!("the body's content-encoding is {coding:?}"))
                .with_hint("send it as it is, or with content-encoding: gzip");
            Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error))
        }
        _ => Ok(()),
    }
}

/// A body that is larger, and the values of one, have to find room beside those of other requests;
/// the values of a smaller one take some hundred kilobytes at the most.
const SMALL: usize = 8 << 10;

async fn read(request: Request, app: &App, held: &mut Held) -> Result<Bytes, Failure> {
    let App { settings, room, .. } = app;
    let limit = settings.max_body_bytes;
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(declared) = declared.filter(|declared| *declared > limit) {
        return Err(too_large(BODY, limit, 0, declared));
    }
    let patience: Duration = settings.body_timeout.into();
    timeout(patience, collect(request.into_body(), limit, room, held)).await.unwrap_or_else(|_| {
        let error =
            Error::invalid(format!("the body did not arrive within {}", settings.body_timeout));
        Err(Failure::new(StatusCode::REQUEST_TIMEOUT, &error))
    })
}

async fn collect(body: Body, limit: u64, room: &Room, held: &mut Held) -> Result<Bytes, Failure> {
    let mut pieces = body.into_data_stream();
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            let error = Error::invalid(format!("the body cannot be read: {error}"));
            Failure::new(StatusCode::BAD_REQUEST, &error)
        })?;
        let current = first.len().max(whole.len());
        let requested = (current + piece.len()) as u64;
        if requested > limit {
            return Err(too_large(BODY, limit, current as u64, requested));
        }
        if requested > SMALL as u64 {
            room.grow(held, requested)?;
        }
        // Most bodies come in one piece, which is taken as it is.
        if current == 0 {
            first = piece;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(if whole.is_empty() { first } else { whole.into() })
}

/// What is limited: the body as it comes.
const BODY: &str = "bytes of the body of a request";

fn too_large(what: &str, limit: u64, current: u64, requested: u64) -> Failure {
    let error =
        Error::limit(what, limit, current, requested).with_hint("ask for fewer rows at a time");
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, &error)
}

/// How many bytes the values of a body may take for each that it may have itself.
pub(super) const SPREAD: u64 = 8;

/// The [`weight`] of a body. One whose values would take far more memory than it does is refused: a
/// list of digits, or of short lists, which is next to nothing while it is compressed.
fn weight_within(body: &[u8], max_body_bytes: u64) -> Result<u64, Failure> {
    let limit = max_body_bytes.saturating_mul(SPREAD);
    match weight(body) {
        weight if weight > limit => {
            Err(too_large("bytes of memory for the values of a request", limit, 0, weight))
        }
        weight => Ok(weight),
    }
}

/// About how many bytes the values of a JSON text take; texts, and the room that long lists have to
/// spare, are left out. A list with one value has room for four, and so has an object, where each
/// has a name and a place in an index beside it.
fn weight(json: &[u8]) -> u64 {
    let mut values = 1;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b',' => values += 1,
            b'[' => values += 4,
            b'{' => values += 8,
            b'"' => pass_text(&mut bytes),
            _ => {}
        }
    }
    values * size_of::<Value>() as u64
}

/// Goes on behind the text that has begun.
fn pass_text(bytes: &mut slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// Columns of JSON values by name, each of them once.
#[derive(Debug, Default)]
pub struct Columns(pub BTreeMap<String, Vec<Value>>);

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EachOnce)
    }
}

struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = Columns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of values for each name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
        let mut columns = BTreeMap::new();
        while let Some((name, values)) = map.next_entry::<String, Vec<Value>>()? {
            if columns.contains_key(&name) {
                return Err(A::Error::custom(format!("column \"{name}\" is there twice")));
            }
            columns.insert(name, values);
        }
        Ok(Columns(columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 1 << 20;

    /// A body of so many bytes that repeats something.
    fn body(bytes: usize, item: &str) -> Vec<u8> {
        let items = vec![item; (bytes - 32) / (item.len() + 1)].join(",");
        format!("{{\"entities\": {{\"a\": [{items}]}}}}").into_bytes()
    }

    #[test]
    fn values_that_take_far_more_than_their_body_are_refused() {
        let check = |bytes: usize, item: &str, refused: bool| {
            let answer = weight_within(&body(bytes, item), MAX);
            assert_eq!(answer.is_err(), refused, "{bytes} bytes of {item}: {answer:?}");
        };
        let deep = format!("{}0{}", "[".repeat(100), "]".repeat(100));
        for item in ["0", "\"\"", "[0]", "{}", "{\"\":0}", &deep] {
            check(MAX as usize, item, true);
            check(SMALL, item, false);
        }
        let text = format!("\"{}\"", "\\\",[{".repeat(1_000));
        for item in ["0.43599490214200376", "\"1998-01-08T00:00:00Z\"", &text] {
            check(MAX as usize, item, false);
        }
        check(MAX as usize / 2, "123456789", false);
        let heavy = weight_within(&body(MAX as usize, "0"), MAX).unwrap_err();
        let (status, message, _) = heavy.told();
        let told = "bytes of memory for the values of a request over the limit: limit 8388608, \
            current 0, requested 37749024\nhint: ask for fewer rows at a time";
        assert_eq!((status, message), (413, told));
    }

    #[test]
    fn a_body_is_an_object_in_utf8() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Asked {
            a: u8,
        }
        let check = |body: &[u8], expected: Result<u8, &str>| {
            let parsed = parse::<Asked>(body).map(|asked| asked.a);
            assert_eq!(parsed, expected.map_err(str::to_owned));
        };
        check(b" {\"a\": 1} ", Ok(1));
        check(b"\n [1]", Err("it is a list, and has to be an object"));
        let no_utf8 = "invalid utf-8 sequence of 1 bytes from index 6";
        check(b"{\"b\":\"\xff\",\"a\":1}", Err(no_utf8));
        check(b"", Err("EOF while parsing a value at line 1 column 0"));
    }

    /// The bytes of a value, without those of texts.
    fn held(value: &Value) -> usize {
        size_of::<Value>() + room(value)
    }

    fn room(value: &Value) -> usize {
        match value {
            Value::Array(values) => {
                let spare = values.capacity() - values.len();
                let spare = if values.len() < 4 { spare } else { 0 };
                spare * size_of::<Value>() + values.iter().map(held).sum::<usize>()
            }
            Value::Object(map) => {
                let entry = size_of::<(u64, String, Value)>();
                let rest = |value| entry + size_of::<usize>() + room(value);
                map.values().map(rest).sum::<usize>() + (4 - map.len().min(4)) * entry
            }
            _ => 0,
        }
    }

    #[test]
    fn no_value_takes_more_than_it_weighs() {
        let deep = format!("{}0{}", "[".repeat(100), "]".repeat(100));
        let texts =
            ["0", "[]", "[0]", "[0,[1,2,3,4,5]]", "{\"a\":0,\"b\":[0]}", "{\"\":{}}", &deep];
        for text in texts {
            let value: Value = serde_json::from_str(text).unwrap();
            let (weight, held) = (weight(text.as_bytes()), held(&value) as u64);
            assert!(held <= weight, "{text} weighs {weight} and takes {held}");
        }
    }
}
