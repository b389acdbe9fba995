//! What a run has to read, and why: what the ledger says was read, against the files as they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Ledger, ReadFile, Window};
use crate::{
    definition::Visible,
    digest::Digest,
    offline::{InputFile, RowGroup, SourceFile, SourceInputs},
    time::{Span, Timestamp},
};

/// What a run reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The end: rows with later event times are not read.
    pub to: Timestamp,
    /// The files to read, in the order in which they are read: those with the newest rows first.
    pub files: Vec<PlannedFile>,
    /// The files that are not read, since all of their rows up to the end were.
    pub unchanged: Vec<SourceFile>,
    /// Whether the files are the inputs of a query, which is computed as a whole.
    #[serde(skip)]
    pub(super) query: bool,
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// The file as it is.
    #[serde(flatten)]
    pub file: SourceFile,
    /// Why it is read.
    pub why: Why,
    /// From which event time on; `None` is the beginning.
    pub from: Option<Timestamp>,
    /// How many rows the row groups have that are read.
    pub rows: u64,
    /// How many row groups are read.
    pub row_groups: usize,
    /// Of how many.
    pub of_row_groups: usize,
    /// No row of the file becomes visible after this moment, as far as its statistics tell.
    #[serde(skip)]
    pub(super) last: Option<Timestamp>,
}

/// Why a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The run was asked for these event times, whatever was read before.
    Asked,
    /// The view is computed otherwise than what is stored, or nothing is stored.
    Definition,
    /// The view's ttl was made longer: rows may have left the store under the shorter one.
    Ttl,
    /// It is new.
    New,
    /// It changed, or an input of the same query did.
    Changed,
    /// It has rows after the end of the last run.
    Later,
}

impl Why {
    /// The reason, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked for",
            Self::Definition => "nothing of this definition is stored",
            Self::Ttl => "rows may have left under a shorter ttl",
            Self::New => "new",
            Self::Changed => "changed",
            Self::Later => "has later rows",
        }
    }
}

impl Plan {
    /// What to read of `inputs` in a window, where `ledger` says what was read. Rows may leave the
    /// store after `ttl`, if there is one.
    pub(super) fn of(
        window: Window,
        definition: &Digest,
        ttl: Option<Span>,
        visible: Visible,
        ledger: Option<&Ledger>,
        inputs: SourceInputs,
    ) -> Self {
        let ledger = ledger.filter(|ledger| ledger.definition == *definition);
        let lacking = ledger.is_some_and(|ledger| ledger.may_lack_rows(ttl));
        let was = ledger.map(|ledger| {
            ledger.files.iter().map(|read| (&read.file.path, read)).collect::<BTreeMap<_, _>>()
        });
        let (to, query) = (window.to(), matches!(inputs, SourceInputs::Query(_)));
        let decide = |input: &InputFile| match (window, &was) {
            (Window::Between(from, _), _) => Some((Why::Asked, from)),
            (Window::Incremental(_), None) => Some((Why::Definition, None)),
            (Window::Incremental(_), Some(_)) if lacking => Some((Why::Ttl, None)),
            (Window::Incremental(to), Some(was)) => {
                decide(input, was.get(&input.file.path).copied(), visible, to)
            }
        };
        let mut files = Vec::new();
        let mut unchanged = Vec::new();
        match inputs {
            SourceInputs::Files(inputs) => {
                for input in inputs {
                    match decide(&input) {
                        Some((why, from)) => {
                            files.push(PlannedFile::new(input, why, from, to, visible));
                        }
                        None => unchanged.push(input.file),
                    }
                }
            }
            SourceInputs::Query(inputs) => {
                let gone = was.as_ref().is_some_and(|was| was.len() != inputs.len());
                let decided = decide_query(inputs.iter().map(decide), gone, ledger, visible, to);
                match decided {
                    Some((why, from)) => files.extend(inputs.into_iter().map(|input| {
                        // What a query makes of a file's rows may have any event time.
                        let planned =
                            PlannedFile::new(input, why, None, Timestamp(i64::MAX), visible);
                        PlannedFile { from, last: None, ..planned }
                    })),
                    None => unchanged.extend(inputs.into_iter().map(|input| input.file)),
                }
            }
        }
        files.sort_by(|one, other| {
            let rank = |planned: &PlannedFile| planned.last.map_or(i64::MAX, |last| last.0);
            let newest_first = rank(other).cmp(&rank(one));
            newest_first.then_with(|| other.file.path.cmp(&one.file.path))
        });
        Self { to, files, unchanged, query }
    }

    /// The paths of all files that there are.
    pub(super) fn found(&self) -> BTreeSet<&str> {
        let read = self.files.iter().map(|planned| &planned.file);
        read.chain(&self.unchanged).map(|file| file.path.as_str()).collect()
    }

    /// How many rows the row groups have that are read.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|planned| planned.rows).sum()
    }

    /// From which event time on anything is read; `None` is the beginning, or that nothing is read.
    pub fn from(&self) -> Option<Timestamp> {
        let from = self.files.iter().map(|planned| planned.from);
        from.min().flatten()
    }

    /// The files in groups that are read at once: as many as have `bytes` bytes, and a query's all.
    pub(super) fn groups(&self, bytes: u64) -> Vec<&[PlannedFile]> {
        if self.query {
            return vec![self.files.as_slice()];
        }
        let mut groups = Vec::new();
        let mut rest = self.files.as_slice();
        while let [first, ..] = rest {
            let mut size = 0_u64;
            let fits = rest.iter().take_while(|planned| {
                size = size.saturating_add(planned.file.size);
                planned.from == first.from && size <= bytes
            });
            let (group, after) = rest.split_at(fits.count().max(1));
            groups.push(group);
            rest = after;
        }
        groups
    }
}

/// Whether a file is read, where the view is computed as it was when it was read before.
fn decide(
    input: &InputFile,
    was: Option<&ReadFile>,
    visible: Visible,
    to: Timestamp,
) -> Option<(Why, Option<Timestamp>)> {
    let Some(was) = was else {
        return Some((Why::New, None));
    };
    if was.file != input.file {
        return Some((Why::Changed, None));
    }
    if was.is_read_up_to(to) {
        return None;
    }
    match visible {
        Visible::Event => Some((Why::Later, Some(was.through))),
        // A row that was not written down yet may have any event time.
        Visible::Created => Some((Why::Later, None)),
    }
}

/// Whether a query is computed, given what would be done with each of its inputs, and whether some
/// that were there are gone.
fn decide_query(
    inputs: impl Iterator<Item = Option<(Why, Option<Timestamp>)>>,
    gone: bool,
    ledger: Option<&Ledger>,
    visible: Visible,
    to: Timestamp,
) -> Option<(Why, Option<Timestamp>)> {
    let decided: Vec<_> = inputs.flatten().collect();
    let first = |why: Why| decided.iter().find(|decided| decided.0 == why).copied();
    let whole = [Why::Asked, Why::Definition, Why::Ttl].into_iter().find_map(first);
    if whole.is_some() {
        return whole;
    }
    if gone || first(Why::New).is_some() || first(Why::Changed).is_some() {
        return Some((Why::Changed, None));
    }
    // The statistics of its inputs say nothing of what a query makes of them.
    let through = ledger.and_then(|ledger| ledger.through);
    match (through, visible) {
        (Some(through), _) if through >= to => None,
        (Some(through), Visible::Event) => Some((Why::Later, Some(through))),
        (Some(_), Visible::Created) => Some((Why::Later, None)),
        (None, _) => Some((Why::Changed, None)),
    }
}

impl PlannedFile {
    fn new(
        input: InputFile,
        why: Why,
        from: Option<Timestamp>,
        to: Timestamp,
        visible: Visible,
    ) -> Self {
        let read = input.row_groups.iter().filter(|group| group.may_have(from, to));
        let (rows, row_groups) =
            read.fold((0, 0), |(rows, groups), group| (rows + group.rows, groups + 1));
        Self {
            why,
            from,
            rows,
            row_groups,
            of_row_groups: input.row_groups.len(),
            last: last_visible(&input.row_groups, visible),
            file: input.file,
        }
    }
}

/// The moment after which no row of the row groups becomes visible; `None` where that is not known.
fn last_visible(groups: &[RowGroup], visible: Visible) -> Option<Timestamp> {
    let last = groups.iter().map(|group| match visible {
        Visible::Event => group.last_event,
        Visible::Created => Some(group.last_event?.max(group.last_created?)),
    });
    last.collect::<Option<Vec<_>>>()
        .map(|last| last.into_iter().max().unwrap_or(Timestamp(i64::MIN)))
}
