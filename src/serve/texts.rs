//! The features of a request, as it names them.

use std::{borrow::Cow, hash};

use serde::Deserialize;
use serde_json::value::RawValue;

/// A list of texts as JSON, as it was written. Models name the same features again and again, in
/// the same bytes: a plan is remembered by these, and the list is not read again.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct FeatureTexts(Box<RawValue>);

impl FeatureTexts {
    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.0.get().len()
    }

    /// The texts, in order.
    ///
    /// # Errors
    /// Where it is no list of texts.
    pub fn read(&self) -> serde_json::Result<Vec<Cow<'_, str>>> {
        serde_json::from_str(self.0.get())
    }
}

impl PartialEq for FeatureTexts {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for FeatureTexts {}

impl hash::Hash for FeatureTexts {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.get().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        features: Option<FeatureTexts>,
    }

    fn list(json: &str) -> FeatureTexts {
        let body: Body = serde_json::from_str(&format!("{{\"features\": {json} }}")).unwrap();
        body.features.unwrap()
    }

    #[test]
    fn texts_are_read_as_they_are_written() {
        let check = |json: &str, expected: &[&str]| {
            assert_eq!(list(json).read().unwrap(), expected, "{json}");
        };
        check("[]", &[]);
        check("[\"\"]", &[""]);
        check("[\"a:b\", \"\\u00e4\\n\"]", &["a:b", "ä\n"]);
        assert_eq!(list("[\"a\"]"), list("[\"a\"]"));
        assert_ne!(list("[\"a\", \"bc\"]"), list("[\"ab\", \"c\"]"));
        let none: Body = serde_json::from_str("{\"features\": null}").unwrap();
        assert!(none.features.is_none());
    }

    #[test]
    fn what_is_no_list_of_texts_is_refused() {
        let check = |json: &str, expected: &str| {
            let error = list(json).read().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("[\"a\", 1]", "invalid type: integer `1`, expected a string");
        check("\"a\"", "invalid type: string \"a\", expected a sequence");
        assert!(serde_json::from_str::<Body>("{\"features\": [\"a}").is_err());
    }
}
