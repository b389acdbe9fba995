//! Answers, as Redis writes them: RESP2, <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::io;

use bytes::Bytes;

/// What Redis answers to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is nothing.
    Nil,
    /// A number.
    Int(i64),
    /// A text, where it was received.
    Text(Bytes),
    /// A word, such as `OK`.
    Status(String),
    /// Several answers.
    Array(Vec<Answer>),
    /// Why it was not done.
    Error(Complaint),
}

impl Answer {
    /// How many bytes its texts are.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Array(answers) => answers.iter().map(Self::text_bytes).sum(),
            _ => 0,
        }
    }
}

/// An error that Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    /// Its first word.
    pub(super) code: String,
    /// The rest of it.
    pub(super) details: String,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.details.as_str() {
            "" => f.write_str(&self.code),
            details => write!(f, "{} {details}", self.code),
        }
    }
}

/// How deep arrays may lie in arrays. Redis' answers to our commands have three levels.
const DEPTH: usize = 8;

/// How long the line of a number, a text without a length or an error may be.
const LINE: usize = 64 << 10;

const END: &[u8] = b"\r\n";

/// The answers that some bytes are.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when they are something else.
pub(super) fn parse(bytes: &Bytes, count: usize) -> io::Result<Vec<Answer>> {
    let mut reader = Reader { rest: bytes };
    let answers = (0..count).map(|_| reader.answer(bytes, DEPTH)).collect::<io::Result<_>>()?;
    match reader.rest {
        [] => Ok(answers),
        rest => Err(garbled(rest)),
    }
}

/// How long the answer is that the bytes begin with; `None` where it is not whole yet. Only its lines
/// are looked at, so that an answer that comes piece by piece costs hardly more than one that comes
/// at once.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when they begin with no answer.
pub(super) fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let (mut reader, mut values) = (Reader { rest: bytes }, 1_usize);
    while values > 0 {
        let Some((kind, line)) = reader.line()? else {
            return Ok(None);
        };
        values -= 1;
        match kind {
            b'$' => {
                let there = length_of(line)?.map_or(0, |text| text.saturating_add(END.len()));
                if reader.bytes(there).is_none() {
                    return Ok(None);
                }
            }
            b'*' => values = values.saturating_add(length_of(line)?.unwrap_or(0)),
            _ => {}
        }
    }
    Ok(Some(bytes.len() - reader.rest.len()))
}

/// Goes through bytes.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next line, without its first byte and its end; `None` where it is not whole yet.
    fn line(&mut self) -> io::Result<Option<(u8, &'a [u8])>> {
        let start = self.rest;
        let Some(end) = start.iter().take(LINE).position(|byte| *byte == b'\r') else {
            return if start.len() < LINE { Ok(None) } else { Err(garbled(start)) };
        };
        let Some(line) = self.bytes(end + END.len()) else {
            return Ok(None);
        };
        match line[..end].split_first() {
            Some((kind, text)) if line.ends_with(END) => Ok(Some((*kind, text))),
            _ => Err(garbled(start)),
        }
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    /// The next answer, which is whole, out of these bytes.
    fn answer(&mut self, bytes: &Bytes, depth: usize) -> io::Result<Answer> {
        let start = self.rest;
        let (kind, line) = self.line()?.ok_or_else(|| garbled(start))?;
        let text = || str::from_utf8(line).map_err(|_| garbled(start));
        match kind {
            b'$' => match length_of(line)? {
                None => Ok(Answer::Nil),
                Some(length) => {
                    let text = self.bytes(length).ok_or_else(|| garbled(start))?;
                    match self.bytes(END.len()) {
                        Some(END) => Ok(Answer::Text(bytes.slice_ref(text))),
                        _ => Err(garbled(start)),
                    }
                }
            },
            b'*' => match length_of(line)? {
                None => Ok(Answer::Nil),
                // Each takes three bytes at the least, and they are there.
                Some(count) if depth > 0 && count <= start.len() => {
                    let answers = (0..count).map(|_| self.answer(bytes, depth - 1));
                    Ok(Answer::Array(answers.collect::<io::Result<_>>()?))
                }
                Some(_) => Err(garbled(start)),
            },
            b':' => text()?.parse().map(Answer::Int).map_err(|_| garbled(start)),
            b'+' => Ok(Answer::Status(text()?.to_owned())),
            b'-' => {
                let (code, details) = text()?.split_once(' ').unwrap_or((text()?, ""));
                let (code, details) = (code.to_owned(), details.to_owned());
                Ok(Answer::Error(Complaint { code, details }))
            }
            _ => Err(garbled(start)),
        }
    }
}

/// The length in the first line of a text or an array; none where there is neither.
fn length_of(line: &[u8]) -> io::Result<Option<usize>> {
    if line == b"-1" {
        return Ok(None);
    }
    let more = |number: usize, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    let number = line.iter().try_fold(0, more).filter(|_| !line.is_empty());
    number.map(Some).ok_or_else(|| garbled(line))
}

fn garbled(bytes: &[u8]) -> io::Error {
    let shown = bytes[..bytes.len().min(40)].escape_ascii();
    io::Error::new(io::ErrorKind::InvalidData, format!("this is not Redis' protocol: {shown}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redis::{Value, parse_redis_value};

    use super::*;

    /// The same, as the crate `redis` has it.
    fn ours(value: Value) -> Answer {
        match value {
            Value::Nil => Answer::Nil,
            Value::Int(number) => Answer::Int(number),
            Value::BulkString(text) => Answer::Text(text.into()),
            Value::Okay => Answer::Status("OK".to_owned()),
            Value::SimpleString(word) => Answer::Status(word),
            Value::Array(values) => Answer::Array(values.into_iter().map(ours).collect()),
            Value::ServerError(error) => Answer::Error(Complaint {
                code: error.code().to_owned(),
                details: error.details().unwrap_or_default().to_owned(),
            }),
            other => panic!("{other:?} is of another version of the protocol"),
        }
    }

    /// Values as Redis has them, written down.
    fn written() -> impl Strategy<Value = Vec<u8>> {
        let text = prop::collection::vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![
            text.prop_map(|text| [format!("${}\r\n", text.len()).as_bytes(), &text, END].concat()),
            any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
            "[ -~]{0,12}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
            "[A-Z]{1,9}( [ -~]{0,12})?".prop_map(|text| format!("-{text}\r\n").into_bytes()),
            Just(b"+OK\r\n".to_vec()),
            Just(b"$-1\r\n".to_vec()),
            Just(b"*-1\r\n".to_vec()),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop::collection::vec(inner, 0..6).prop_map(|values| {
                [format!("*{}\r\n", values.len()).into_bytes(), values.concat()].concat()
            })
        })
    }

    proptest! {
        /// The crate `redis` reads the same, more slowly.
        #[test]
        fn answers_are_read_as_the_crate_reads_them(
            written in prop::collection::vec(written(), 0..4), after in "[$*+]?1?",
        ) {
            let expected: Vec<_> =
                written.iter().map(|one| ours(parse_redis_value(one).unwrap())).collect();
            prop_assert_eq!(parse(&written.concat().into(), written.len()).unwrap(), expected);
            for one in written {
                let followed = [one.as_slice(), after.as_bytes()].concat();
                prop_assert_eq!(length(&followed).unwrap(), Some(one.len()));
                for end in 0..one.len() {
                    prop_assert_eq!(length(&one[..end]).unwrap(), None);
                }
            }
        }

        #[test]
        fn whatever_comes_is_an_answer_or_none(bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"$*:+-\r\n0123".to_vec())], 0..40,
        )) {
            let bytes = Bytes::from(bytes);
            if let Ok(Some(length)) = length(&bytes) {
                prop_assert!(length <= bytes.len());
                let _ = parse(&bytes.slice(..length), 1);
            }
            let _ = parse(&bytes, 1);
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let check = |bytes: &[u8]| {
            let whole = Bytes::copy_from_slice(bytes);
            let parsed = length(bytes).and_then(|_| parse(&whole, 1).map(drop));
            let error = parsed.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}", bytes.escape_ascii());
        };
        check(b"HTTP/1.1 400 Bad Request\r\n");
        check(b"+a\rb\r\n");
        check(&b"+".repeat(LINE));
        check(b"\r\n");
        check(b"$x\r\n");
        check(b"$\r\n");
        check(b"$+1\r\n");
        check(b"$-2\r\n");
        check(b"*-2\r\n");
        check(b":1x\r\n");
        check(b":1\r\n:2\r\n");
        check(b"$3\r\nabcde");
        check(b"%1\r\n+a\r\n+b\r\n");
        check(&[b"*1\r\n".repeat(DEPTH + 1), b":1\r\n".to_vec()].concat());
    }

    #[test]
    fn a_length_beyond_all_bounds_waits_for_more() {
        for start in ["$18446744073709551615\r\n", "*18446744073709551615\r\n"] {
            assert_eq!(length(start.as_bytes()).unwrap(), None);
        }
    }
}
