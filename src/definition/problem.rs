//! Problems in definition files, each with its place.

use std::{fmt, ops::Range};

use serde::Serialize;

use crate::error::{Error, Result};

/// A file with definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, as it is shown to people.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Something wrong in a definition file. Shown as
/// ```text
/// features/customer.toml:12: there is no source "purchase_histroy"
///     source = "purchase_histroy"
///              ^^^^^^^^^^^^^^^^^^
/// hint: did you mean "purchase_history"?
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The path of the file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line itself, without the white space around it, and a line with carets under the
    /// part that is wrong; empty where the line is empty.
    #[serde(skip)]
    excerpt: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)?;
        for line in self.excerpt.lines() {
            write!(f, "\n    {line}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A place in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    file: usize,
    start: usize,
    end: usize,
}

impl At {
    pub(super) fn new(file: usize, span: Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end }
    }

    /// Another place in the same file.
    pub(super) fn same_file(self, span: Range<usize>) -> Self {
        Self::new(self.file, span)
    }

    /// `path:line`, for messages that speak of another place than their own.
    pub(super) fn show(self, files: &[File]) -> String {
        let Some(file) = files.get(self.file) else {
            return String::new();
        };
        format!("{}:{}", file.path, Line::around(&file.text, self.start).number)
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: At,
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<(At, Error)>);

impl Problems {
    pub(super) fn add(&mut self, at: At, error: Error) {
        self.0.push((at, error));
    }

    /// The value of a result; its error becomes a problem.
    pub(super) fn take<T>(&mut self, at: At, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(at, error)).ok()
    }

    /// The problems in the order of their places.
    pub(super) fn finish(mut self, files: &[File]) -> Vec<Problem> {
        self.0.sort_by_key(|(at, _)| *at);
        self.0.iter().filter_map(|(at, error)| problem(files.get(at.file)?, *at, error)).collect()
    }
}

fn problem(file: &File, at: At, error: &Error) -> Option<Problem> {
    let line = Line::around(&file.text, at.start);
    let before = line.text.get(..at.start.checked_sub(line.start)?)?;
    Some(Problem {
        file: file.path.clone(),
        line: line.number,
        column: before.chars().count() + 1,
        message: error.message().to_owned(),
        hint: error.hint().map(str::to_owned),
        excerpt: excerpt(line.text, before, at.end - at.start),
    })
}

/// The most characters of a line that are shown.
const SHOWN: usize = 100;

/// The line, and carets under `length` bytes of it from the end of `before`.
fn excerpt(line: &str, before: &str, length: usize) -> String {
    let indent = line.len() - line.trim_start().len();
    let marked = &line[before.len()..];
    let end = (0..=length.min(marked.len())).rev().find(|end| marked.is_char_boundary(*end));
    let marked = marked[..end.unwrap_or(0)].trim_end();
    let blanks = before.get(indent..).unwrap_or_default().chars().count();
    if line.trim().is_empty() || blanks >= SHOWN {
        return String::new();
    }
    let shown: String = line.trim().replace('\t', " ").chars().take(SHOWN).collect();
    let carets = marked.chars().count().clamp(1, SHOWN - blanks);
    format!("{shown}\n{}{}", " ".repeat(blanks), "^".repeat(carets))
}

struct Line<'a> {
    number: usize,
    start: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// The line in which the byte at `offset` stands.
    fn around(text: &'a str, offset: usize) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        Self {
            number: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            start,
            text: text[start..].lines().next().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, span: Range<usize>, expect: &str) {
        let files = [File { path: "a.toml".into(), text: text.into() }];
        let mut problems = Problems::default();
        problems.add(At::new(0, span), Error::invalid("wrong").with_hint("right"));
        let shown: Vec<_> = problems.finish(&files).iter().map(Problem::to_string).collect();
        assert_eq!(shown, [expect]);
    }

    #[test]
    fn the_place_is_shown() {
        let text = "[a]\n  käse = \"x\"\r\n";
        check(text, 14..17, "a.toml:2: wrong\n    käse = \"x\"\n           ^^^\nhint: right");
        check(text, 1..2, "a.toml:1: wrong\n    [a]\n     ^\nhint: right");
        check(text, text.len()..text.len(), "a.toml:3: wrong\nhint: right");
    }

    #[test]
    fn what_runs_over_the_line_is_cut() {
        check(
            "sql = \"\"\"\nselect\n\"\"\"",
            6..20,
            "a.toml:1: wrong\n    sql = \"\"\"\n          ^^^\nhint: right",
        );
        let long = format!("a = \"{}\"", "ü".repeat(200));
        let expect = format!(
            "a.toml:1: wrong\n    a = \"{}\n        {}\nhint: right",
            "ü".repeat(95),
            "^".repeat(96)
        );
        check(&long, 4..long.len(), &expect);
    }
}
