//! Lists of strings that a function makes.

use alloc::string::String;
use alloc::vec::Vec;

use crate::text::make_ascii_lowercase;
use crate::writer::append;

/// A list of strings to return: all of them lie in one text, so that a list of many short strings
/// is allocated as fast as one of few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringList {
    text: String,
    /// Where each string ends.
    ends: Vec<usize>,
}

impl StringList {
    /// A list without strings.
    pub fn new() -> Self {
        Self::default()
    }

    /// A list without strings, and with room for so many of so many bytes together.
    pub fn with_capacity(strings: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(strings) }
    }

    /// Adds a string.
    #[inline]
    pub fn push(&mut self, string: &str) {
        // SAFETY: what is appended is a whole string.
        append(unsafe { self.text.as_mut_vec() }, string.as_bytes());
        self.ends.push(self.text.len());
    }

    /// Makes the ASCII letters of all strings lower case.
    #[inline]
    pub fn make_ascii_lowercase(&mut self) {
        make_ascii_lowercase(&mut self.text);
    }

    /// How many strings the list has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the list has no string.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = core::iter::once(0).chain(self.ends());
        starts.zip(self.ends()).map(|(start, end)| &self.text[start..end])
    }

    /// All strings, one behind the other.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where in the text each string ends.
    pub(crate) fn ends(&self) -> impl Iterator<Item = usize> {
        self.ends.iter().copied()
    }
}

impl<S: AsRef<str>> FromIterator<S> for StringList {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut list = Self::new();
        strings.into_iter().for_each(|string| list.push(string.as_ref()));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of every length, since the short ones are copied in blocks.
    #[test]
    fn strings_are_whole() {
        let text: String = ('!'..='~').cycle().take(200).collect();
        let mut list = StringList::new();
        (0..text.len()).for_each(|length| list.push(&text[..length]));
        assert!(list.iter().eq((0..text.len()).map(|length| &text[..length])));
    }

    #[test]
    fn strings_stay_apart() {
        let long = "long".repeat(100);
        let mut list: StringList = ["a", "", "ß", &long].into_iter().collect();
        list.push("");
        assert!(list.iter().eq(["a", "", "ß", &long, ""]));
        assert_eq!((list.len(), list.is_empty()), (5, false));
        let mut list: StringList = ["A1", "É"].into_iter().collect();
        list.make_ascii_lowercase();
        assert!(list.iter().eq(["a1", "É"]));
        assert_eq!(StringList::new().iter().next(), None);
    }
}
