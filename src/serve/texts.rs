//! The features of a request, as it names them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, SeqAccess, Visitor},
};

/// A list of texts in one piece. Models name the same features again and again: a plan is
/// remembered by this, and a request that names them costs neither a text of its own for each nor
/// another look at what they mean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FeatureTexts {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl FeatureTexts {
    /// The texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let text = &self.text[start..*end];
            start = *end;
            text
        })
    }
}

impl<'de> Deserialize<'de> for FeatureTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Texts)
    }
}

struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = FeatureTexts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FeatureTexts, A::Error> {
        let mut texts = FeatureTexts::default();
        while seq.next_element_seed(Next(&mut texts))?.is_some() {}
        Ok(texts)
    }
}

/// Puts a text behind the others.
struct Next<'a>(&'a mut FeatureTexts);

impl<'de> DeserializeSeed<'de> for Next<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Next<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.text.push_str(text);
        self.0.ends.push(self.0.text.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<FeatureTexts, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn texts_are_read_as_they_are_and_kept_apart() {
        let check = |json: &str, expected: &[&str]| {
            assert_eq!(read(json).unwrap().iter().collect::<Vec<_>>(), expected, "{json}");
        };
        check("[]", &[]);
        check("[\"\"]", &[""]);
        check("[\"a:b\", \"\\u00e4\\n\"]", &["a:b", "ä\n"]);
        assert_ne!(read("[\"a\", \"bc\"]").unwrap(), read("[\"ab\", \"c\"]").unwrap());
    }

    #[test]
    fn what_is_no_list_of_texts_is_refused() {
        let check = |json: &str, expected: &str| {
            let error = read(json).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("[\"a\", 1]", "invalid type: integer `1`, expected a string");
        check("\"a\"", "invalid type: string \"a\", expected a sequence");
    }
}
