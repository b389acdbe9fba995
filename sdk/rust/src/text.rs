//! Short texts of ASCII, eight bytes at a time.
//!
//! What the standard library has for this goes byte by byte, at the end of a text if not all along
//! it; and in a component every turn of a loop looks at the clock. Here a word of eight bytes is
//! asked about all of them at once. The answer is in the highest bit of each, which ASCII does not
//! use (H. S. Warren, *Hacker's Delight*, second edition, chapter 6).

use crate::words::{short_word, words};

const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// The highest bit of each byte.
const HIGHS: u64 = ONES << 7;

/// Whether all of a text is ASCII.
#[inline]
pub fn is_ascii(text: &str) -> bool {
    all_ascii(text.as_bytes())
}

/// Whether all bytes are ASCII.
#[inline]
pub(crate) fn all_ascii(bytes: &[u8]) -> bool {
    words(bytes).fold(0, |any, word| any | word) & HIGHS == 0
}

/// Whether a text is ASCII, and all white space in it is single spaces between other characters.
///
/// ```
/// use unskew_sdk::text::is_single_spaced;
/// assert!(is_single_spaced("one two"));
/// assert!(!is_single_spaced("one  two") && !is_single_spaced("one\ttwo"));
/// assert!(!is_single_spaced(" one") && !is_single_spaced("größer"));
/// ```
#[inline]
pub fn is_single_spaced(text: &str) -> bool {
    // Before the text there is as good as a space.
    let (wrong, _) = words(text.as_bytes()).fold((0, HIGHS), |(wrong, before), word| {
        let space = within(word, b' ', b' ');
        let double = space & behind(space, before);
        (wrong | word | within(word, b'\t', b'\r') | double, space)
    });
    wrong & HIGHS == 0 && !text.ends_with(' ')
}

/// Makes the ASCII letters of a text lower case, and leaves other characters as they are.
#[inline]
pub fn make_ascii_lowercase(text: &mut str) {
    // SAFETY: a byte of ASCII becomes another, and no other byte changes.
    let bytes = unsafe { text.as_bytes_mut() };
    let Some(last) = bytes.last_chunk().map(lower) else {
        let lower = lower(&short_word(bytes).to_le_bytes());
        return bytes.iter_mut().zip(lower).for_each(|(byte, lower)| *byte = lower);
    };
    bytes.as_chunks_mut().0.iter_mut().for_each(|eight| *eight = lower(eight));
    bytes.last_chunk_mut().into_iter().for_each(|eight| *eight = last);
}

/// Calls `found` with each run of ASCII letters and digits, in order.
///
/// ```
/// let mut words = vec![];
/// unskew_sdk::text::ascii_words("4x4, in\tSTOCK", |word| words.push(word));
/// assert_eq!(words, ["4x4", "in", "STOCK"]);
/// ```
#[inline]
pub fn ascii_words<'a>(text: &'a str, mut found: impl FnMut(&'a str)) {
    let (mut place, mut start, mut before) = (0, 0, 0);
    for word in words(text.as_bytes()) {
        let inside = alphanumeric(word);
        let mut edges = inside ^ behind(inside, before);
        while edges != 0 {
            let edge = edges & edges.wrapping_neg();
            let at = place + edge.trailing_zeros() as usize / 8;
            if inside & edge != 0 {
                start = at;
            } else {
                found(&text[start..at]);
            }
            edges ^= edge;
        }
        (place, before) = (place + 8, inside);
    }
    if before >> 63 == 1 {
        found(&text[start..]);
    }
}

/// Whether each byte of a word, all of which are ASCII, is one of these.
#[inline]
fn within(word: u64, first: u8, last: u8) -> u64 {
    // No byte overflows into the next.
    let at_least = |least: u8| word.wrapping_add(ONES * u64::from(0x80 - least));
    at_least(first) & !at_least(last + 1) & HIGHS
}

/// Whether each byte is an ASCII letter or digit.
#[inline]
fn alphanumeric(word: u64) -> u64 {
    let ascii = word & !HIGHS;
    // The bit that lower case has and upper case has not.
    (within(ascii, b'0', b'9') | within(ascii | ONES << 5, b'a', b'z')) & !word
}

/// The answers for the bytes before those of these answers.
#[inline]
fn behind(answers: u64, before: u64) -> u64 {
    answers << 8 | before >> 56
}

/// The eight bytes with ASCII letters in lower case.
#[inline]
fn lower(eight: &[u8; 8]) -> [u8; 8] {
    let word = u64::from_le_bytes(*eight);
    let capital = within(word & !HIGHS, b'A', b'Z') & !word;
    (word | capital >> 2).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    /// Everything here is what the standard library finds, byte by byte.
    fn check(text: &str) {
        assert_eq!(is_ascii(text), text.is_ascii(), "{text:?}");

        let spaced = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(is_single_spaced(text), text.is_ascii() && text == spaced, "{text:?}");

        let mut lower = String::from(text);
        make_ascii_lowercase(&mut lower);
        assert_eq!(lower, text.to_ascii_lowercase());

        let mut found = Vec::new();
        ascii_words(text, |word| found.push(word));
        let runs = text.split(|character: char| !character.is_ascii_alphanumeric());
        assert!(runs.filter(|run| !run.is_empty()).eq(found), "{text:?}");
    }

    /// Every character of one or two bytes, at every place in texts of up to two words.
    #[test]
    fn agrees_with_the_standard_library() {
        for length in 0..20 {
            let [left, right] =
                ["a Zz 09 word, Word", "               \t  "].map(|text| &text[..length.min(18)]);
            for character in (0..0x100).filter_map(char::from_u32) {
                for at in 0..=left.len() {
                    for text in [left, right] {
                        check(
                            &[&text[..at], character.encode_utf8(&mut [0; 4]), &text[at..]]
                                .concat(),
                        );
                    }
                }
            }
        }
        check(&"Ein größerer Text, in dem alles vorkommt. ".repeat(9));
    }
}
