//! A diff as text, without colour.

use std::fmt;

use super::{Action, Change, Diff, FieldChange};
use crate::digest::Digest;

/// The changes, each with its fields and the feature services it reaches, and a line of counts.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("Nothing to change.");
        }
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        let Self { add, change, remove, changes: _ } = self;
        write!(f, "\nPlan: {add} to add, {change} to change, {remove} to remove.")
    }
}

/// The change, a line for each field under it.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Add => '+',
            Action::Change => '~',
            Action::Remove => '-',
        };
        write!(f, "{sign} {}.{}", self.kind.key(), self.name)?;
        for field in &self.fields {
            write!(f, "\n    {field}")?;
        }
        if !self.services.is_empty() {
            let services: Vec<_> = self.services.iter().map(String::as_str).collect();
            write!(f, "\n    reaches feature_service {}", services.join(", "))?;
        }
        Ok(())
    }
}

/// `~ field: was → is`; the lines that differ, where there is more than one.
impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        match (self.was.as_deref(), self.is.as_deref()) {
            (Some(was), Some(is)) if was.contains('\n') || is.contains('\n') => {
                write!(f, "~ {field}:")?;
                let (gone, come) = lines_between(was, is);
                gone.iter().try_for_each(|line| write!(f, "\n        - {line}"))?;
                come.iter().try_for_each(|line| write!(f, "\n        + {line}"))
            }
            (Some(was), Some(is)) => write!(f, "~ {field}: {} → {}", short(was), short(is)),
            (Some(was), None) => write!(f, "- {field}: {}", short(was)),
            (None, is) => write!(f, "+ {field}: {}", short(is.unwrap_or_default())),
        }
    }
}

/// The lines of each text between those that both begin with and those that both end with.
fn lines_between<'a>(was: &'a str, is: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut was, mut is): (Vec<_>, Vec<_>) = (was.lines().collect(), is.lines().collect());
    let same = was.iter().zip(&is).take_while(|(was, is)| was == is).count();
    was.drain(..same);
    is.drain(..same);
    let tails = was.iter().rev().zip(is.iter().rev());
    let same = tails.take_while(|(was, is)| was == is).count();
    was.truncate(was.len() - same);
    is.truncate(is.len() - same);
    (was, is)
}

/// The text in one line, digests cut short.
fn short(text: &str) -> String {
    match text.parse::<Digest>() {
        Ok(digest) => digest.short(),
        Err(_) => text.lines().collect::<Vec<_>>().join(", "),
    }
}
