//! `unskew.lock`: which bytes each name of a transform stands for, beside the definitions, as
//! `Cargo.lock` stands beside `Cargo.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::{
    digest::Digest,
    error::{Context, Error, Result},
    name::TransformName,
};

/// The name of the file.
pub const LOCK_FILE: &str = "unskew.lock";

const HEADER: &str = "\
# Written by unskew: the digest that each transform stands for.
# Keep it in version control, beside the definitions, and do not edit it.
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    #[serde(default)]
    transforms: BTreeMap<String, Spanned<String>>,
}

/// The text of a lock file: the same for the same transforms.
pub fn write_lock(transforms: &BTreeMap<TransformName, Digest>) -> String {
    let lines = transforms.iter().map(|(name, digest)| format!("\"{name}\" = \"{digest}\"\n"));
    format!("{HEADER}\n[transforms]\n{}", lines.collect::<String>())
}

/// The transforms of a lock file.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when `text` is no lock file.
pub fn read_lock(text: &str) -> Result<BTreeMap<TransformName, Digest>> {
    let place = |offset: Option<usize>| {
        let before = offset.and_then(|offset| text.get(..offset));
        let line = before.unwrap_or_default().matches('\n').count() + 1;
        format!("{LOCK_FILE}:{line}")
    };
    let lock: Lock = toml::from_str(text).map_err(|error| {
        let start = error.span().map(|span| span.start);
        Error::invalid(format!("{}: {}", place(start), error.message()))
            .with_hint("take it from version control, or delete it to lock what is published now")
    })?;
    let read = |(name, digest): (&String, &Spanned<String>)| -> Result<_> {
        Ok((name.parse()?, digest.get_ref().parse()?))
    };
    let lines = lock.transforms.iter();
    lines.map(|line| read(line).context(|| place(Some(line.1.span().start)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_same_for_the_same_transforms() {
        let name = |text: &str| text.parse::<TransformName>().unwrap();
        let digest = Digest::of("bytes");
        let transforms = BTreeMap::from([
            (name("commerce/user_age@1.10.0"), digest),
            (name("commerce/user_age@1.9.0-rc.1+b"), digest),
            (name("commerce/basket@1.0.0"), Digest::of("other")),
        ]);
        let text = write_lock(&transforms);
        let lines: Vec<_> = text.lines().skip(4).collect();
        assert_eq!(
            lines,
            [
                format!("\"commerce/basket@1.0.0\" = \"{}\"", Digest::of("other")),
                format!("\"commerce/user_age@1.9.0-rc.1+b\" = \"{digest}\""),
                format!("\"commerce/user_age@1.10.0\" = \"{digest}\""),
            ]
        );
        assert_eq!(read_lock(&text).unwrap(), transforms);
        assert_eq!(read_lock(&write_lock(&BTreeMap::new())).unwrap(), BTreeMap::new());
        assert_eq!(read_lock("").unwrap(), BTreeMap::new());
    }

    #[test]
    fn what_is_no_lock_file_is_refused_with_its_line() {
        let check = |text: &str, expect: &str| {
            let error = read_lock(text).unwrap_err();
            assert!(error.message().starts_with(expect), "{error}");
        };
        check(
            "[transforms]\n\n\"a/b@1.0.0\" = \"sha256:12\"",
            "unskew.lock:3: not a digest: \"sha256:12\"",
        );
        check("[transforms]\n\"a/b\" = \"\"", "unskew.lock:2: not a transform: \"a/b\"");
        check("[transforms]\n<<<<<<< HEAD", "unskew.lock:2: key with no value");
        check("transfroms = {}", "unskew.lock:1: unknown field");
    }
}
