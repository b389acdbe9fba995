//! Finding what somebody may have built already.

use serde::Serialize;

use super::{
    Entry,
    thing::{Thing, things},
};
use crate::definition::State;

/// How well an entry fits a query; the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// The query is its name.
    Exact,
    /// Its name begins with the query.
    Prefix,
    /// Every term of the query is a word, or words in a row, of it.
    Word,
    /// Some terms of the query are only parts of its words.
    Substring,
}

/// An entry that fits a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// How well it fits.
    pub strength: Strength,
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What fits a query, the best first: every term of the query, which spaces separate, is somewhere
/// in the name, the description, the tags, the owner or the team. Case does not matter, nor what
/// separates the words of a term: `user_age` finds "user age", and `ada@example.com` the owner.
/// Among hits of one [`Strength`], those come first that have more terms in their names; then
/// the order is that of kinds and names. A query without a word fits everything.
pub fn search(state: &State, query: &str) -> Vec<Hit> {
    let terms = query.split_whitespace().map(Text::new).filter(|term| !term.words.is_empty());
    let (query, terms) = (Text::new(query), terms.collect::<Vec<_>>());
    let found = things(state).into_iter().filter_map(|thing| {
        let rank = rank(&thing, &query, &terms)?;
        Some((rank, thing.entry()))
    });
    let mut found: Vec<((Strength, usize), Entry)> = found.collect();
    found.sort_by(|(a_rank, a), (b_rank, b)| {
        (a_rank, a.kind, &a.name).cmp(&(b_rank, b.kind, &b.name))
    });
    found.into_iter().map(|((strength, _), entry)| Hit { strength, entry }).collect()
}

/// How well a thing fits, and how many terms of the query are not in its names.
fn rank(thing: &Thing, query: &Text, terms: &[Text]) -> Option<(Strength, usize)> {
    let short_names = thing.short_names.iter().copied();
    let names: Vec<Text> = short_names.chain([thing.name.as_str()]).map(Text::new).collect();
    let tags = thing.tags.iter().map(String::as_str);
    let others = tags.chain([thing.description, thing.owner, thing.team]);
    let others: Vec<Text> = others.map(Text::new).collect();

    let mut strength = Strength::Word;
    let mut outside = 0;
    for term in terms {
        let in_names = names.iter().filter_map(|name| name.fit(term, true)).min();
        let in_others = others.iter().filter_map(|text| text.fit(term, false)).min();
        outside += usize::from(in_names.is_none());
        strength = strength.max(in_names.into_iter().chain(in_others).min()?);
    }
    if names.iter().any(|name| name.joined == query.joined) {
        strength = Strength::Exact;
    } else if names.iter().any(|name| name.joined.starts_with(&query.joined)) {
        strength = Strength::Prefix;
    }
    Some((strength, outside))
}

/// A text as it is compared: in lower case, as words and with nothing between them.
struct Text {
    words: Vec<String>,
    joined: String,
}

impl Text {
    fn new(text: &str) -> Self {
        let words: Vec<String> = text
            .split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        Self { joined: words.concat(), words }
    }

    /// How well it has a term; a part across several words counts in names alone, where people do
    /// not agree on what separates words.
    fn fit(&self, term: &Text, name: bool) -> Option<Strength> {
        if self.words.windows(term.words.len()).any(|words| words == term.words) {
            return Some(Strength::Word);
        }
        let part = match name {
            true => self.joined.contains(&term.joined),
            false => self.words.iter().any(|word| word.contains(&term.joined)),
        };
        part.then_some(Strength::Substring)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    fn check(query: &str, expected: &[(Strength, &str)]) {
        let hits = search(&testing::state(), query);
        let found: Vec<_> =
            hits.iter().map(|hit| (hit.strength, hit.entry.name.as_str())).collect();
        assert_eq!(found, expected, "{query:?}");
    }

    const YEARS_SINCE: &str = "commerce/user_age@1.0.0#years_since_registration";

    #[test]
    fn a_name_is_found_however_it_is_written() {
        for query in ["user_age", "User Age", "USER-AGE", "userage", " user  age "] {
            check(
                query,
                &[
                    (Strength::Exact, "user_age"),
                    (Strength::Exact, YEARS_SINCE),
                    (Strength::Prefix, "user_age:years"),
                ],
            );
        }
    }

    #[test]
    fn names_come_before_words_and_words_before_parts_of_words() {
        check(
            "basket",
            &[
                (Strength::Exact, "basket"),
                (Strength::Exact, "commerce/basket@1.0.0#basket"),
                (Strength::Prefix, "basket:unit_price"),
            ],
        );
        check(
            "purchase",
            &[
                (Strength::Prefix, "purchases"),
                (Strength::Prefix, "purchases:first_purchase_at"),
                (Strength::Prefix, "purchases:spend_30d"),
                (Strength::Word, "orders"),
            ],
        );
        check("spend", &[(Strength::Prefix, "purchases:spend_30d"), (Strength::Word, "purchases")]);
    }

    #[test]
    fn every_term_has_to_fit_somewhere() {
        // A tag of the view, and a word of the feature's name or of the view's description.
        check(
            "money spend",
            &[(Strength::Word, "purchases:spend_30d"), (Strength::Word, "purchases")],
        );
        check("money nothing", &[]);
    }

    #[test]
    fn descriptions_owners_and_teams_are_searched() {
        // The function says it of its output; the definition says nothing.
        check("mean price", &[(Strength::Word, "basket:unit_price")]);
        check("growth@example.com", &[(Strength::Word, "churn")]);
        check("who buys", &[(Strength::Word, "customer")]);
        check("gregorian", &[(Strength::Word, YEARS_SINCE)]);
        check("gregor", &[(Strength::Substring, YEARS_SINCE)]);
    }

    #[test]
    fn a_query_without_words_fits_everything() {
        let state = testing::state();
        assert_eq!(search(&state, " - ").len(), things(&state).len());
    }
}
