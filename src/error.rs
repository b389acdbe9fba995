//! The one error of the crate: what happened, what to do about it, and a hint.

use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The input is wrong; the same call fails again until the input is corrected.
    Invalid,
    /// Something that was named does not exist.
    NotFound,
    /// Somebody else was faster, or the name is taken; look again, then decide.
    Conflict,
    /// A limit was reached; the message has the limit, the current value and the requested one.
    Limit,
    /// Stored bytes are not what was written; restore them, do not retry.
    Corrupt,
    /// A transform failed as a whole (a trap, a deadline, an answer out of shape); its author
    /// has to mend it.
    Transform,
    /// A disk, a network or a peer did not answer; the same call may succeed later.
    Unavailable,
    /// A defect of unskew.
    Internal,
}

/// An error: the outcome first, then the values involved and the valid alternatives; the hint
/// stands on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

impl Error {
    /// An error of this kind that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), hint: None }))
    }

    /// [`Kind::Invalid`]: the caller's input is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// [`Kind::NotFound`]: what was named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// [`Kind::Conflict`]: the name is taken or somebody else was faster.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// [`Kind::Corrupt`]: stored bytes are not what was written.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, message)
    }

    /// [`Kind::Transform`]: a transform failed as a whole.
    pub fn transform(message: impl Into<String>) -> Self {
        Self::new(Kind::Transform, message)
    }

    /// [`Kind::Unavailable`]: a disk, a network or a peer did not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// [`Kind::Internal`]: a defect of unskew.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// [`Kind::Limit`]: `what` would go from `current` to `requested`, which is over `limit`.
    pub fn limit(what: &str, limit: u64, current: u64, requested: u64) -> Self {
        Self::new(
            Kind::Limit,
            format!(
                "{what} over the limit: limit {limit}, current {current}, requested {requested}"
            ),
        )
    }

    /// The same error with a hint, replacing any it had.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same error with `outcome` in front of its message: `outcome: message`.
    #[must_use]
    pub fn context(mut self, outcome: impl fmt::Display) -> Self {
        self.0.message = format!("{outcome}: {}", self.0.message);
        self
    }

    /// The same error, told to somebody who did not cause it and can correct nothing: that a store
    /// is full, or a file of a source is gone, is [`Kind::Unavailable`] to them.
    #[must_use]
    pub fn not_the_callers(mut self) -> Self {
        if matches!(self.kind(), Kind::Invalid | Kind::NotFound | Kind::Conflict | Kind::Limit) {
            self.0.kind = Kind::Unavailable;
        }
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What happened, without the hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to try, where there is something to say.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())?;
        match self.hint() {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

/// `outcome: message` on results, as [`Error::context`] on errors.
pub trait Context<T> {
    /// Puts `outcome()` in front of the message of an error.
    ///
    /// # Errors
    /// Those of `self`, with the outcome in front.
    fn context<D: fmt::Display>(self, outcome: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context<D: fmt::Display>(self, outcome: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.into().context(outcome()))
    }
}

/// The candidate that somebody who typed `typed` most likely meant, if one is near.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similarity = |candidate| strsim::normalized_damerau_levenshtein(typed, candidate);
    candidates
        .into_iter()
        .map(|candidate| (similarity(candidate), candidate))
        .filter(|(similarity, _)| *similarity >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A hint `did you mean "…"?` for the candidate nearest to `typed`, or the list of candidates
/// where none is near.
pub fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(typed, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean \"{candidate}\"?"),
        None if candidates.is_empty() => "there are none".to_owned(),
        None => format!("there are: {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_stands_on_its_own_line() {
        let error = Error::invalid("no such view: \"puchases\"")
            .context("nothing applied")
            .with_hint(did_you_mean("puchases", ["purchases", "basket"]));
        assert_eq!(
            error.to_string(),
            "nothing applied: no such view: \"puchases\"\nhint: did you mean \"purchases\"?"
        );
    }

    #[test]
    fn far_names_list_the_candidates() {
        assert_eq!(did_you_mean("zzz", ["purchases", "basket"]), "there are: purchases, basket");
        assert_eq!(did_you_mean("zzz", []), "there are none");
    }
}
