//! Features of short texts.

use unskew_sdk::prelude::*;
use unskew_sdk::text::{is_ascii, is_single_spaced, to_ascii_lowercase};

/// The domain of an email address in lower case: what follows the last `@`. Null where there is no
/// `@`, or nothing before or after it.
#[transform]
pub fn email_domain(
    /// An email address; space around it is ignored.
    email: &str,
) -> Option<String> {
    let (user, domain) = email.trim().rsplit_once('@')?;
    (!user.is_empty() && !domain.is_empty()).then(|| domain.to_ascii_lowercase())
}

/// The ISO 3166-1 alpha-2 code of a country, from that code in any case or from a common name. Null
/// where the country is not known.
#[transform]
pub fn normalise_country(
    /// A country as people write it, such as `uk` or `United States`.
    country: &str,
) -> Option<&'static str> {
    let country = country.trim();
    let named = |(code, names): &&(&str, &[&str])| {
        names.iter().chain([code]).any(|name| name.eq_ignore_ascii_case(country))
    };
    COUNTRIES.iter().find(named).map(|(code, _)| *code)
}

/// A text in lower case, without space at its ends and with one space between its words.
#[transform]
pub fn normalise(
    /// Any text.
    text: &str,
) -> String {
    if is_single_spaced(text) {
        return to_ascii_lowercase(text);
    }
    let mut normal = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !normal.is_empty() {
            normal.push(' ');
        }
        // What a letter becomes may depend on those beside it in the word.
        normal.push_str(&word.to_lowercase());
    }
    normal
}

/// The words of a text in lower case, in order: runs of letters and digits.
#[transform]
pub fn tokens(
    /// Any text.
    text: &str,
) -> StringList {
    if is_ascii(text) { StringList::of_ascii_words(text) } else { any_words(text) }
}

/// Apart, so that the way that most texts go has the registers to itself.
#[cold]
fn any_words(text: &str) -> StringList {
    let runs = text.split(|character: char| !character.is_alphanumeric());
    runs.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// How many of the words are in the list for the first time; 0 for the empty list.
#[transform]
pub fn distinct_tokens(
    /// A list of words.
    tokens: StrList,
) -> i64 {
    let mut words: Vec<&str> = tokens.iter().collect();
    words.sort_unstable();
    words.dedup();
    words.len() as i64
}

export!(email_domain, normalise_country, normalise, tokens, distinct_tokens);

/// Codes and common names of the countries that most customers write.
const COUNTRIES: &[(&str, &[&str])] = &[
    ("AT", &["Austria", "Österreich"]),
    ("AU", &["Australia"]),
    ("BE", &["Belgium", "België", "Belgique"]),
    ("BR", &["Brazil", "Brasil"]),
    ("CA", &["Canada"]),
    ("CH", &["Switzerland", "Schweiz", "Suisse"]),
    ("CN", &["China"]),
    ("DE", &["Germany", "Deutschland"]),
    ("DK", &["Denmark", "Danmark"]),
    ("ES", &["Spain", "España"]),
    ("FI", &["Finland", "Suomi"]),
    ("FR", &["France"]),
    ("GB", &["UK", "U.K.", "United Kingdom", "Great Britain", "England", "Scotland", "Wales"]),
    ("IE", &["Ireland"]),
    ("IN", &["India"]),
    ("IT", &["Italy", "Italia"]),
    ("JP", &["Japan"]),
    ("MX", &["Mexico", "México"]),
    ("NL", &["Netherlands", "The Netherlands", "Holland", "Nederland"]),
    ("NO", &["Norway", "Norge"]),
    ("NZ", &["New Zealand"]),
    ("PL", &["Poland", "Polska"]),
    ("PT", &["Portugal"]),
    ("SE", &["Sweden", "Sverige"]),
    ("US", &["USA", "U.S.", "U.S.A.", "United States", "United States of America", "America"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use unskew_sdk::testing::{batch, column, rows};

    #[test]
    fn domains() {
        for (email, domain) in [
            ("a@Example.COM", Some("example.com")),
            (" a@b@c.org ", Some("c.org")),
            ("no at sign", None),
            ("@example.com", None),
            ("someone@", None),
            ("", None),
        ] {
            assert_eq!(email_domain(email).as_deref(), domain, "{email}");
        }
    }

    #[test]
    fn countries() {
        for (country, code) in [
            ("de", Some("DE")),
            ("Deutschland", Some("DE")),
            (" united KINGDOM ", Some("GB")),
            ("Österreich", Some("AT")),
            ("Atlantis", None),
            ("", None),
        ] {
            assert_eq!(normalise_country(country), code, "{country}");
        }
    }

    #[test]
    fn codes_are_sorted_and_names_are_of_one_country() {
        assert!(COUNTRIES.is_sorted_by(|one, other| one.0 < other.0));
        for (code, names) in COUNTRIES {
            for name in *names {
                assert_eq!(normalise_country(name), Some(*code), "{name}");
            }
        }
    }

    #[test]
    fn texts_have_one_normal_form() {
        assert_eq!(normalise("  Zero\tSKEW,  Größe "), "zero skew, größe");
        assert_eq!(normalise(" \n"), "");
    }

    #[test]
    fn words() {
        let words = |text| tokens(text).iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words("Größe 42,  in STOCK!"), ["größe", "42", "in", "stock"]);
        assert_eq!(words("4x4, in\tSTOCK"), ["4x4", "in", "stock"]);
        assert_eq!(words(" - "), [""; 0]);
    }

    /// What the fast ways give for ASCII is what the general definition gives.
    #[test]
    fn ascii_is_not_special() {
        let obvious_words = |text: &str| -> Vec<String> {
            let runs = text.split(|character: char| !character.is_alphanumeric());
            runs.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
        };
        let check = |text: &str| {
            let normal: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
            assert_eq!(normalise(text), normal.join(" "), "{text:?}");
            assert!(tokens(text).iter().eq(obvious_words(text)), "{text:?}");
        };
        // Every pair of ASCII characters, between letters and on its own, and beside a letter that
        // is none.
        for pair in 0..128 * 128_u32 {
            let pair = [pair / 128, pair % 128].map(|code| char::from(code as u8));
            let pair = String::from_iter(pair);
            check(&pair);
            check(&format!("A{pair}b"));
            check(&format!("É{pair}Σ"));
        }
    }

    #[test]
    fn lists_go_in_and_out_of_columns() {
        let texts = batch(3, [column([Some("a b a"), None, Some("")])]);
        let outcome = TRANSFORM.apply(3, &[], texts).expect("the inputs fit");
        let words = rows::<Option<Vec<&str>>>(&outcome.columns[0], 3);
        assert_eq!(words, [Some(vec!["a", "b", "a"]), None, Some(vec![])]);

        let outcome = TRANSFORM.apply(4, &[], batch(3, outcome.columns)).expect("the lists fit");
        assert_eq!(rows::<Option<i64>>(&outcome.columns[0], 3), [Some(2), None, Some(0)]);
    }
}
