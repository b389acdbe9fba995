//! Short texts of ASCII, sixteen bytes at a time.
//!
//! What the standard library has for this goes byte by byte, at the end of a text if not all along
//! it; and in a component every turn of a loop looks at the clock, and a copy of a length that only
//! shows at run time is a call of the host.

use alloc::string::String;

use crate::block::{self, Answers, BYTES, CHUNK};
use crate::vector;

/// Whether all of a text is ASCII.
#[inline]
pub fn is_ascii(text: &str) -> bool {
    all_ascii(text.as_bytes())
}

/// Whether all bytes are ASCII.
#[inline]
pub(crate) fn all_ascii(bytes: &[u8]) -> bool {
    let mut beyond = Answers::none();
    for chunk in bytes.chunks(CHUNK) {
        block::for_each(chunk, |_, block| beyond = beyond.or(block.beyond_ascii()));
    }
    beyond.bits() == 0
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
    let (mut wrong, mut doubles) = (Answers::none(), 0);
    // Before the text there is as good as a space.
    let mut before = 1;
    for chunk in text.as_bytes().chunks(CHUNK) {
        let mut spaces = 0;
        block::for_each(chunk, |at, block| {
            wrong = wrong.or(block.beyond_ascii()).or(block.within(b'\t', b'\r'));
            spaces |= block.within(b' ', b' ').bits() << at;
        });
        doubles |= spaces & (spaces << 1 | before);
        before = spaces >> (CHUNK - 1);
    }
    wrong.bits() | doubles == 0 && !text.ends_with(' ')
}

/// A text with its ASCII letters in lower case, as [`str::to_ascii_lowercase`] gives it.
#[inline]
pub fn to_ascii_lowercase(text: &str) -> String {
    // So much that a block can be written wherever a byte can.
    let mut lower = vector::with_capacity(text.len() + BYTES);
    let mut to: *mut u8 = lower.as_mut_ptr();
    for chunk in text.as_bytes().chunks(CHUNK) {
        // SAFETY: there is room for all chunks, and a block.
        to = unsafe {
            block::for_each(chunk, |at, block| {
                to.add(at).cast::<[u8; BYTES]>().write_unaligned(block.lower());
            });
            to.add(chunk.len())
        };
    }
    // SAFETY: blocks hold all of each chunk; a byte of ASCII becomes another, and no other byte
    // changes.
    unsafe {
        lower.set_len(text.len());
        String::from_utf8_unchecked(lower)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// Everything here is what the standard library finds, byte by byte.
    fn check(text: &str) {
        assert_eq!(is_ascii(text), text.is_ascii(), "{text:?}");

        let spaced = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(is_single_spaced(text), text.is_ascii() && text == spaced, "{text:?}");

        assert_eq!(to_ascii_lowercase(text), text.to_ascii_lowercase());
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
