//! Text that a guest chose, as it may be shown to people.
//!
//! It ends up in terminals, logs, pages and answers. It can neither be long, nor steer a terminal,
//! nor begin a line of its own, as our hints do, nor turn round the direction of what follows.

use std::fmt::Write as _;

/// At most `limit` bytes of the text, with an ellipsis where some are missing; what does not show
/// as itself is written as `\u{…}`.
pub(super) fn shown(text: &str, limit: u32) -> String {
    let kept = text.floor_char_boundary(limit as usize);
    let mut shown = String::with_capacity(kept);
    for character in text[..kept].chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            hidden if is_hidden(hidden) => {
                // Writing to a string cannot fail.
                let _ = write!(shown, "{}", hidden.escape_unicode());
            }
            plain => shown.push(plain),
        }
    }
    if kept < text.len() {
        shown.push('…');
    }
    shown
}

/// Whether a character acts on the text around it instead of showing: control characters, the
/// separators of lines and paragraphs, and the marks that set the direction of text.
pub(super) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(shown("ab", 2), "ab");
        assert_eq!(shown("abc", 2), "ab…");
        assert_eq!(shown("aä", 2), "a…");
        assert_eq!(shown("ä", 0), "…");
        assert_eq!(shown("", 0), "");
    }

    #[test]
    fn text_shows_as_it_is_or_not_at_all() {
        let check = |text: &str, expected: &str| assert_eq!(shown(text, 100), expected);
        check("naïve “Größe” 🦀 \\n", "naïve “Größe” 🦀 \\n");
        check("no\nhint: run this", "no\\nhint: run this");
        check("\u{1b}[2J\r\0\u{7f}", "\\u{1b}[2J\\u{d}\\u{0}\\u{7f}");
        check("\u{9b}2J", "\\u{9b}2J");
        check("a\u{202e}b\u{2029}", "a\\u{202e}b\\u{2029}");
    }
}
