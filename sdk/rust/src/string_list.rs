//! Lists of strings that a function makes.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use crate::block::{self, BYTES, CHUNK};
use crate::vector;
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
    #[inline]
    pub fn with_capacity(strings: usize, bytes: usize) -> Self {
        // SAFETY: a text without bytes is one.
        let text = unsafe { String::from_utf8_unchecked(vector::with_capacity(bytes)) };
        Self { text, ends: vector::with_capacity(strings) }
    }

    /// Adds a string.
    #[inline]
    pub fn push(&mut self, string: &str) {
        // SAFETY: what is appended is a whole string.
        append(unsafe { self.text.as_mut_vec() }, string.as_bytes());
        self.ends.push(self.text.len());
    }

    /// The words of a text in lower case, in order: its runs of ASCII letters and digits.
    ///
    /// ```
    /// let words = unskew_sdk::StringList::of_ascii_words("4x4, in\tSTOCK");
    /// assert!(words.iter().eq(["4x4", "in", "stock"]));
    /// ```
    #[inline]
    pub fn of_ascii_words(text: &str) -> Self {
        // Between two words there is a byte; and what is copied may go on for a chunk.
        let mut words = Self::with_capacity(text.len() / 2 + 1, text.len() + CHUNK);
        let mut is_open = false;
        for chunk in text.as_bytes().chunks(CHUNK) {
            // SAFETY: there is room for the words of all chunks, and a chunk.
            is_open = unsafe { words.push_words(chunk, is_open) };
        }
        if is_open {
            words.ends.push(words.text.len());
        }
        words
    }

    /// Adds the words of up to [`CHUNK`] bytes. The first byte goes on with the last word where that
    /// `is_open`; and so does what follows, where this returns `true`.
    ///
    /// There is nothing in the loop that could fail, and so no call: what a loop works with has to
    /// leave the registers for any.
    ///
    /// # Safety
    /// The text has room for this chunk and another one, and there is room for as many ends as words.
    #[inline(always)]
    unsafe fn push_words(&mut self, chunk: &[u8], is_open: bool) -> bool {
        // Not all of it is written, nor what is copied from there and lies behind the word.
        let mut lower = [MaybeUninit::<u8>::uninit(); 2 * CHUNK];
        let from = lower.as_mut_ptr();
        let mut inside = 0_u64;
        block::for_each(chunk, |at, block| {
            inside |= block.alphanumeric().bits() << at;
            // SAFETY: blocks lie within the chunk, but for one that is shorter than a block.
            unsafe { from.add(at).cast::<[u8; BYTES]>().write_unaligned(block.lower()) };
        });
        let (mut starts, mut stops) = (inside & !(inside << 1), !inside & inside << 1);
        // SAFETY: the caller has made room; what is appended is ASCII.
        unsafe {
            let text = self.text.as_mut_vec();
            let (first, first_end) = (text.as_mut_ptr(), self.ends.as_mut_ptr());
            let (mut to, mut end) = (first.add(text.len()), first_end.add(self.ends.len()));
            if is_open && inside & 1 == 0 {
                end.write(text.len());
                end = end.add(1);
            }
            // Whether there is another one.
            let mut push_word = || {
                // 64 where the word goes to the end of the chunk, or on behind it.
                let (start, stop) = (starts.trailing_zeros(), stops.trailing_zeros());
                let word = from.add(start as usize);
                let length = stop.wrapping_sub(start) as usize;
                copy::<BYTES>(word, to);
                if length > BYTES {
                    copy::<{ CHUNK - BYTES }>(word.add(BYTES), to.add(BYTES));
                }
                to = to.add(length);
                end.write(to.addr().wrapping_sub(first.addr()));
                end = end.add(usize::from(stop < u64::BITS));
                starts &= starts.wrapping_sub(1);
                stops &= stops.wrapping_sub(1);
                starts != 0
            };
            // Several in a turn, since every turn of a loop looks at the clock.
            if inside != 0 {
                while push_word() && push_word() && push_word() && push_word() {}
            }
            let length = to.addr().wrapping_sub(first.addr());
            text.set_len(length);
            self.ends.set_len(end.offset_from_unsigned(first_end));
        }
        inside >> (CHUNK - 1) == 1
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

    /// Drops it, in line.
    #[inline(always)]
    pub(crate) fn free(self) {
        vector::free(self.text.into_bytes());
        vector::free(self.ends);
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

/// Copies so many bytes, in blocks.
///
/// # Safety
/// They can be read there, and written here.
#[inline(always)]
unsafe fn copy<const SIZE: usize>(from: *const MaybeUninit<u8>, to: *mut u8) {
    // SAFETY: as the caller has promised.
    unsafe {
        let bytes = from.cast::<[MaybeUninit<u8>; SIZE]>().read_unaligned();
        to.cast::<[MaybeUninit<u8>; SIZE]>().write_unaligned(bytes);
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

    /// Over every border of a block and of a chunk.
    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let text = "4x4, in STOCK: Überlange_Wörter, ".repeat(9) + &"aB9".repeat(50) + " 1-2 ";
        for start in 0..70 {
            for end in start..text.len() {
                let Some(text) = text.get(start..end) else { continue };
                let runs = text.split(|character: char| !character.is_ascii_alphanumeric());
                let expected = runs.filter(|run| !run.is_empty()).map(str::to_ascii_lowercase);
                assert!(StringList::of_ascii_words(text).iter().eq(expected), "{text:?}");
            }
        }
    }

    #[test]
    fn strings_stay_apart() {
        let long = "long".repeat(100);
        let mut list: StringList = ["a", "", "ß", &long].into_iter().collect();
        list.push("");
        assert!(list.iter().eq(["a", "", "ß", &long, ""]));
        assert_eq!((list.len(), list.is_empty()), (5, false));
        assert_eq!(StringList::new().iter().next(), None);
    }
}
