//! A TOML table, read key by key: what is missing, of the wrong kind or not known becomes a
//! problem, and reading goes on.

use std::{collections::BTreeMap, ops::RangeInclusive, str::FromStr};

use serde_json::Number;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    definition::problem::{At, Located, Problems},
    error::{Error, did_you_mean, nearest},
};

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    name: &'static str,
    /// A line with the key, as it may stand in a file.
    pub(super) example: &'static str,
    required: bool,
}

impl Key {
    pub(super) const fn required(name: &'static str, example: &'static str) -> Self {
        Self { name, example, required: true }
    }

    pub(super) const fn optional(name: &'static str, example: &'static str) -> Self {
        Self { name, example, required: false }
    }
}

/// A value and where it stands.
pub(super) type Value<'a> = Located<&'a DeValue<'a>>;

/// A key of a table, its value, and where they stand.
pub(super) type Entry<'a> = (Located<String>, Value<'a>);

/// A table that is being read.
pub(super) struct Table<'a, 'p> {
    /// What the table declares, as messages call it: `source "orders"`.
    pub(super) what: String,
    /// Where what it declares is named.
    pub(super) at: At,
    /// Where problems go.
    pub(super) problems: &'p mut Problems,
    /// What was not read yet.
    rest: BTreeMap<String, (At, Value<'a>)>,
    asked: Vec<Key>,
    missing: Vec<Key>,
}

impl<'a, 'p> Table<'a, 'p> {
    pub(super) fn new(
        what: String,
        at: At,
        table: &'a DeTable<'a>,
        problems: &'p mut Problems,
    ) -> Self {
        let rest = entries(at, table).map(|(key, value)| (key.value, (key.at, value)));
        Self { what, at, problems, rest: rest.collect(), asked: Vec::new(), missing: Vec::new() }
    }

    /// Where a key stands that was not read yet.
    pub(super) fn place_of(&self, key: Key) -> Option<At> {
        self.rest.get(key.name).map(|(at, _)| *at)
    }

    /// Whether a key is there, or another that looks like a misspelling of it.
    pub(super) fn has_or_misspells(&self, key: Key) -> bool {
        self.rest.keys().any(|there| nearest(there, [key.name]).is_some())
    }

    /// The value of a key, of whatever kind.
    pub(super) fn value(&mut self, key: Key) -> Option<Value<'a>> {
        self.asked.push(key);
        let value = self.rest.remove(key.name).map(|(_, value)| value);
        if value.is_none() && key.required {
            self.missing.push(key);
        }
        value
    }

    /// A string with something in it.
    pub(super) fn string(&mut self, key: Key) -> Option<Located<String>> {
        let value = self.value(key)?;
        self.text(&self.name_of(key), key.example, value)
    }

    /// A string that means something of its own.
    pub(super) fn parsed<T: FromStr<Err = Error>>(&mut self, key: Key) -> Option<Located<T>> {
        let text = self.string(key)?;
        let parsed = text.value.parse().map_err(|error: Error| error.context(self.name_of(key)));
        let value = self.problems.take(text.at, parsed)?;
        Some(Located { value, at: text.at })
    }

    /// One of a few words; the meaning that stands beside it.
    pub(super) fn word<T: Copy>(&mut self, key: Key, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(key)?;
        let known = words.iter().find(|(word, _)| *word == text.value);
        if known.is_none() {
            let right: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let right = right.join(" or ");
            let found = format!("\"{}\"", text.value);
            self.refuse(key, text.at, &found, &right);
        }
        known.map(|(_, meaning)| *meaning)
    }

    pub(super) fn boolean(&mut self, key: Key) -> Option<bool> {
        let value = self.value(key)?;
        let read = value.value.as_bool();
        if read.is_none() {
            self.refuse(key, value.at, kind(value.value), "true or false");
        }
        read
    }

    /// A count within bounds.
    pub(super) fn count(&mut self, key: Key, bounds: RangeInclusive<u32>) -> Option<u32> {
        let value = self.value(key)?;
        let right = format!("an integer from {} to {}", bounds.start(), bounds.end());
        let DeValue::Integer(integer) = value.value else {
            self.refuse(key, value.at, kind(value.value), &right);
            return None;
        };
        let count = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let count = count.filter(|count| bounds.contains(count));
        if count.is_none() {
            self.refuse(key, value.at, integer.as_str(), &right);
        }
        count
    }

    /// An integer that is not negative, and where it stands.
    pub(super) fn integer(&mut self, key: Key) -> Option<Located<u64>> {
        let value = self.value(key)?;
        let read = value.value.as_integer();
        let read = read.and_then(|read| u64::from_str_radix(read.as_str(), read.radix()).ok());
        if read.is_none() {
            self.refuse(key, value.at, kind(value.value), "an integer from 0 on");
        }
        Some(Located { value: read?, at: value.at })
    }

    /// A list of strings; `None` where one of its items is none.
    pub(super) fn strings(&mut self, key: Key) -> Option<Vec<Located<String>>> {
        let value = self.value(key)?;
        let Some(items) = value.value.as_array() else {
            self.refuse(key, value.at, kind(value.value), "a list of strings");
            return None;
        };
        let what = format!("an item of {}", self.name_of(key));
        let text = |item| self.text(&what, key.example, located(value.at, item));
        let read = items.iter().map(text);
        let read: Vec<_> = read.collect();
        read.into_iter().collect()
    }

    /// The entries of a table, in the order of their keys.
    pub(super) fn entries(&mut self, key: Key) -> Option<Vec<Entry<'a>>> {
        let value = self.value(key)?;
        let Some(table) = value.value.as_table() else {
            self.refuse(key, value.at, kind(value.value), "a table");
            return None;
        };
        Some(entries(value.at, table).collect())
    }

    /// The text of a value that messages call `what`.
    pub(super) fn text(
        &mut self,
        what: &str,
        example: &str,
        value: Value<'_>,
    ) -> Option<Located<String>> {
        let (found, right) = match value.value.as_str() {
            Some("") => ("empty", "a string with something in it"),
            Some(text) => {
                return Some(Located { value: text.to_owned(), at: value.at });
            }
            None => (kind(value.value), "a string"),
        };
        let error = wrong(what, found, right, example);
        self.problems.add(value.at, error);
        None
    }

    /// Reports that the value of a key is `found` and should be `right`.
    pub(super) fn refuse(&mut self, key: Key, at: At, found: &str, right: &str) {
        let error = wrong(&self.name_of(key), found, right, key.example);
        self.problems.add(at, error);
    }

    /// A key, as messages call it.
    pub(super) fn name_of(&self, key: Key) -> String {
        format!("\"{}\" of {}", key.name, self.what)
    }

    /// Reports the keys that were never asked for and those that are missing, except where the
    /// one looks like a misspelling of the other.
    pub(super) fn finish(self) {
        let known = || self.asked.iter().map(|key| key.name);
        let mut meant = Vec::new();
        for (key, (at, _)) in &self.rest {
            meant.extend(nearest(key, known()));
            let error = Error::invalid(format!("{} has no key \"{key}\"", self.what));
            self.problems.add(*at, error.with_hint(did_you_mean(key, known())));
        }
        for key in self.missing.iter().filter(|key| !meant.contains(&key.name)) {
            let error = Error::invalid(format!("{} lacks \"{}\"", self.what, key.name));
            self.problems.add(self.at, error.with_hint(format!("add {}", key.example)));
        }
    }
}

fn wrong(what: &str, found: &str, right: &str, example: &str) -> Error {
    Error::invalid(format!("{what} is {found} and should be {right}"))
        .with_hint(format!("as in {example}"))
}

/// The entries of a table in the file of `near`, in the order of their keys.
pub(super) fn entries<'a>(near: At, table: &'a DeTable<'a>) -> impl Iterator<Item = Entry<'a>> {
    table.iter().map(move |(key, value)| {
        let name = Located { value: key.get_ref().to_string(), at: near.same_file(key.span()) };
        (name, located(near, value))
    })
}

fn located<'a>(near: At, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
    Located { value: value.get_ref(), at: near.same_file(value.span()) }
}

/// The kind of a value, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A constant in JSON: dates and times are text, as are the floats that JSON does not have.
/// `None` for a table and for an integer of more than 64 bits.
pub(super) fn to_json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok()?.into()
        }
        DeValue::Float(float) => float_to_json(float.as_str().parse().ok()?),
        DeValue::Boolean(boolean) => (*boolean).into(),
        DeValue::Datetime(moment) => moment.to_string().into(),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| to_json(item.get_ref()));
            serde_json::Value::Array(items.collect::<Option<_>>()?)
        }
        DeValue::Table(_) => return None,
    })
}

fn float_to_json(float: f64) -> serde_json::Value {
    match Number::from_f64(float) {
        Some(number) => number.into(),
        None if float.is_nan() => "NaN".into(),
        None if float > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}
