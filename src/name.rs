//! Names: of definitions, of transforms and of their functions.

use std::{fmt, str::FromStr};

use crate::error::{Error, Result};

/// Whether `text` may name an entity, a source, a view, a feature, a column or a service:
/// lower-case letters, digits and single underscores, a letter in front, at most 63 characters.
///
/// Double underscores are kept for full feature names (`view__feature`).
pub fn is_identifier(text: &str) -> bool {
    let tail = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(tail)
        && !text.contains("__")
}

/// The rule of [`is_identifier`], for messages.
pub const IDENTIFIER_RULE: &str = "a name is lower-case letters, digits and single underscores, \
     starts with a letter and has at most 63 characters";

/// A published transform: `team/name@version`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransformName {
    /// The team that publishes it.
    pub team: String,
    /// The name, within the team.
    pub name: String,
    /// The version; what it names never changes.
    pub version: semver::Version,
}

/// A function of a published transform: `team/name@version#function`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName {
    /// The transform.
    pub transform: TransformName,
    /// The function, by the name that the transform's description gives it.
    pub function: String,
}

/// A feature of a view: `view:feature`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureRef {
    /// The feature view or on-demand feature view.
    pub view: String,
    /// The feature.
    pub feature: String,
}

impl FeatureRef {
    /// `view__feature`: unique among all views.
    pub fn full_name(&self) -> String {
        format!("{}__{}", self.view, self.feature)
    }
}

impl TransformName {
    /// `team/name`, without the version.
    pub fn unversioned(&self) -> String {
        format!("{}/{}", self.team, self.name)
    }
}

impl fmt::Display for TransformName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.team, self.name, self.version)
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.transform, self.function)
    }
}

impl fmt::Display for FeatureRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.view, self.feature)
    }
}

impl FromStr for TransformName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (path, version) = text.split_once('@')?;
            let (team, name) = path.split_once('/')?;
            let version = semver::Version::parse(version).ok()?;
            (is_identifier(team) && is_identifier(name)).then(|| Self {
                team: team.to_owned(),
                name: name.to_owned(),
                version,
            })
        };
        parse().ok_or_else(|| {
            Error::invalid(format!("not a transform: {text:?}"))
                .with_hint("a transform is team/name@version, as in commerce/user_age@1.0.0")
        })
    }
}

impl FromStr for FunctionName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (transform, function) = text.split_once('#')?;
            let transform = transform.parse().ok()?;
            is_identifier(function).then(|| Self { transform, function: function.to_owned() })
        };
        parse().ok_or_else(|| {
            Error::invalid(format!("not a function of a transform: {text:?}")).with_hint(
                "a function is team/name@version#function, \
                 as in commerce/user_age@1.0.0#years_since_registration",
            )
        })
    }
}

impl FromStr for FeatureRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((view, feature)) if is_identifier(view) && is_identifier(feature) => {
                Ok(Self { view: view.to_owned(), feature: feature.to_owned() })
            }
            _ => Err(Error::invalid(format!("not a feature: {text:?}"))
                .with_hint("a feature is view:feature, as in purchases:spend_30d")),
        }
    }
}

/// Serializes types as the text that they show, and reads them back from it.
macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
                String::deserialize(de)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

pub(crate) use serde_as_text;

serde_as_text!(TransformName, FunctionName, FeatureRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        for good in ["a", "spend_30d", &"a".repeat(63)] {
            assert!(is_identifier(good), "{good:?}");
        }
        for bad in ["", "_a", "9a", "a__b", "Ab", "a-b", "ä", "a b", &"a".repeat(64)] {
            assert!(!is_identifier(bad), "{bad:?}");
        }
    }

    #[test]
    fn names_round_trip() {
        let text = "commerce/user_age@1.2.0-rc.1#years";
        let name: FunctionName = text.parse().unwrap();
        assert_eq!(name.to_string(), text);
        assert_eq!(name.transform.unversioned(), "commerce/user_age");
        let feature: FeatureRef = "purchases:spend_30d".parse().unwrap();
        assert_eq!(feature.full_name(), "purchases__spend_30d");
    }

    #[test]
    fn half_names_are_refused() {
        for bad in ["a/b", "a@1.0.0", "a/b@1", "a/b@x", "A/b@1.0.0", "../b@1.0.0", "a/b@1.0.0#f"] {
            assert!(bad.parse::<TransformName>().is_err(), "{bad:?}");
        }
        for bad in ["a/b@1.0.0", "a/b@1.0.0#", "#f", "a/b@1.0.0#f#g"] {
            assert!(bad.parse::<FunctionName>().is_err(), "{bad:?}");
        }
        for bad in ["", "a", "a:", ":b", "a:b:c", "a__b:c"] {
            assert!(bad.parse::<FeatureRef>().is_err(), "{bad:?}");
        }
    }
}
