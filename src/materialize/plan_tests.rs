//! Plans: what is read, and why, after whatever was read before.

use super::{
    Ledger, PlannedFile, ReadFile, Window,
    plan::{Plan, Why},
};
use crate::{
    definition::Visible,
    digest::Digest,
    offline::{InputFile, RowGroup, SourceFile, SourceInputs},
    time::{Span, Timestamp},
};

/// A file of `size` bytes, whose row groups of ten rows have event times from the one to the other.
fn input(path: &str, size: u64, groups: &[(i64, i64)]) -> InputFile {
    let group = |(first, last): &(i64, i64)| RowGroup {
        rows: 10,
        first_event: Some(Timestamp(*first)),
        last_event: Some(Timestamp(*last)),
        last_created: Some(Timestamp(last + 5)),
    };
    let file =
        SourceFile { path: path.into(), size, modified: Timestamp(1), etag: None, hash: None };
    InputFile { file, row_groups: groups.iter().map(group).collect() }
}

/// Without statistics.
fn untold(path: &str) -> InputFile {
    let row_groups = vec![RowGroup { rows: 10, ..RowGroup::default() }];
    InputFile { row_groups, ..input(path, 1, &[]) }
}

fn read(input: &InputFile, through: i64, last: Option<i64>) -> ReadFile {
    ReadFile { file: input.file.clone(), through: Timestamp(through), last: last.map(Timestamp) }
}

/// To be read from the beginning.
fn whole(input: &InputFile) -> PlannedFile {
    let inputs = SourceInputs::Files(vec![input.clone()]);
    let window = Window::Between(None, Timestamp(99));
    plan(window, Visible::Event, None, inputs).files.remove(0)
}

fn ledger(files: Vec<ReadFile>) -> Ledger {
    let through = files.iter().map(|read| read.through).min();
    Ledger { through, files, ..Ledger::begun(Digest::of("now"), None) }
}

/// What is planned, a word for each file: `path why from rows groups`.
fn planned(plan: &Plan) -> Vec<String> {
    let shown = plan.files.iter().map(|planned| {
        let from = planned.from.map_or("-".to_owned(), |from| from.0.to_string());
        let (path, why) = (&planned.file.path, format!("{:?}", planned.why).to_lowercase());
        format!(
            "{path} {why} {from} {} {}/{}",
            planned.rows, planned.row_groups, planned.of_row_groups
        )
    });
    shown.collect()
}

fn plan(window: Window, visible: Visible, ledger: Option<&Ledger>, inputs: SourceInputs) -> Plan {
    Plan::of(window, &Digest::of("now"), None, visible, ledger, inputs)
}

#[test]
fn files_are_read_for_a_reason_or_not_at_all() {
    let check = |ledger: Option<&Ledger>, inputs: &[InputFile], to, expected: &[&str]| {
        let inputs = SourceInputs::Files(inputs.to_vec());
        let window = Window::Incremental(Timestamp(to));
        assert_eq!(planned(&plan(window, Visible::Event, ledger, inputs)), expected);
    };
    let (a, b) = (input("a", 1, &[(1, 10), (5, 20)]), input("b", 1, &[(21, 30), (31, 40)]));
    let both = [a.clone(), b.clone()];
    check(None, &both, 50, &["b definition - 20 2/2", "a definition - 20 2/2"]);
    let other = Ledger { definition: Digest::of("before"), ..ledger(vec![read(&a, 50, Some(20))]) };
    check(Some(&other), &both, 50, &["b definition - 20 2/2", "a definition - 20 2/2"]);
    let left = Ledger { ttl: Some(Span(1)), ..ledger(vec![read(&a, 50, Some(20))]) };
    check(Some(&left), &both, 50, &["b ttl - 20 2/2", "a ttl - 20 2/2"]);
    // Rows after the end are left out, row group by row group.
    check(None, &both, 30, &["b definition - 10 1/2", "a definition - 20 2/2"]);
    let first = ledger(vec![read(&a, 25, Some(20))]);
    check(Some(&first), &both, 50, &["b new - 20 2/2"]);
    let second = ledger(vec![read(&a, 25, Some(20)), read(&b, 25, Some(40))]);
    check(Some(&second), &both, 50, &["b later 25 20 2/2"]);
    check(Some(&second), &both, 25, &[]);
    let third = ledger(vec![read(&a, 50, Some(20)), read(&b, 35, Some(40))]);
    check(Some(&third), &both, 50, &["b later 35 10 1/2"]);
    let done = ledger(vec![read(&a, 50, Some(20)), read(&b, 50, Some(40))]);
    check(Some(&done), &both, 99, &[]);
    // A file that grew is read whole: what came late may have any time.
    let grown = input("a", 2, &[(1, 20), (3, 22)]);
    check(Some(&done), &[grown, b.clone()], 99, &["a changed - 20 2/2"]);
    let rewritten =
        InputFile { file: SourceFile { modified: Timestamp(2), ..a.file.clone() }, ..a.clone() };
    check(Some(&done), &[rewritten, b], 99, &["a changed - 20 2/2"]);
    // A file that does not tell may have later rows each time.
    let silent = untold("a");
    let read_once = ledger(vec![read(&silent, 50, None)]);
    check(Some(&read_once), std::slice::from_ref(&silent), 60, &["a later 50 10 1/1"]);
    check(Some(&read_once), &[silent], 50, &[]);
}

#[test]
fn what_was_asked_for_is_read_whatever_was_read_before() {
    let a = input("a", 1, &[(1, 10), (11, 20)]);
    let done = ledger(vec![read(&a, 50, Some(20))]);
    let check = |from: Option<i64>, to, expected: &str| {
        let window = Window::Between(from.map(Timestamp), Timestamp(to));
        let inputs = SourceInputs::Files(vec![a.clone()]);
        assert_eq!(planned(&plan(window, Visible::Event, Some(&done), inputs)), [expected]);
    };
    check(None, 50, "a asked - 20 2/2");
    check(Some(11), 50, "a asked 11 10 1/2");
    check(Some(5), 10, "a asked 5 10 1/2");
    check(Some(30), 50, "a asked 30 0 0/2");
}

#[test]
fn rows_that_were_not_written_down_are_read_from_the_beginning() {
    let a = input("a", 1, &[(1, 20)]);
    let check = |through, last, to, expected: &[&str]| {
        let ledger = ledger(vec![read(&a, through, last)]);
        let inputs = SourceInputs::Files(vec![a.clone()]);
        let window = Window::Incremental(Timestamp(to));
        let planned_now = plan(window, Visible::Created, Some(&ledger), inputs);
        assert_eq!(planned(&planned_now), expected, "{through} {last:?} {to}");
    };
    // Written down five after they became true: at 22, not all were.
    check(22, Some(25), 30, &["a later - 10 1/1"]);
    check(25, Some(25), 30, &[]);
    check(22, Some(25), 22, &[]);
    check(30, None, 31, &["a later - 10 1/1"]);
    let fresh = plan(
        Window::Incremental(Timestamp(30)),
        Visible::Created,
        None,
        SourceInputs::Files(vec![a.clone()]),
    );
    assert_eq!(fresh.files[0].last, Some(Timestamp(25)));
}

#[test]
fn a_query_is_computed_whole_when_an_input_changed() {
    let (a, b) = (untold("a"), untold("b"));
    let check = |ledger: &Ledger, inputs: &[InputFile], visible, to, expected: &[&str]| {
        let inputs = SourceInputs::Query(inputs.to_vec());
        let planned_now = plan(Window::Incremental(Timestamp(to)), visible, Some(ledger), inputs);
        assert_eq!(planned(&planned_now), expected);
        assert_eq!(planned_now.groups(1).len(), 1, "in one piece");
    };
    let both = [a.clone(), b.clone()];
    let done = ledger(vec![read(&a, 50, None), read(&b, 50, None)]);
    check(&done, &both, Visible::Event, 50, &[]);
    check(&done, &both, Visible::Event, 60, &["b later 50 10 1/1", "a later 50 10 1/1"]);
    check(&done, &both, Visible::Created, 60, &["b later - 10 1/1", "a later - 10 1/1"]);
    check(&done, &both[..1], Visible::Event, 50, &["a changed - 10 1/1"]);
    let grown = [InputFile { file: SourceFile { size: 2, ..a.file.clone() }, ..a.clone() }, b];
    check(&done, &grown, Visible::Event, 50, &["b changed - 10 1/1", "a changed - 10 1/1"]);
    let added = [grown[1].clone(), a, untold("c")];
    check(
        &done,
        &added,
        Visible::Event,
        50,
        &["c changed - 10 1/1", "b changed - 10 1/1", "a changed - 10 1/1"],
    );
    let unfinished = ledger(Vec::new());
    check(&unfinished, &both, Visible::Event, 50, &["b changed - 10 1/1", "a changed - 10 1/1"]);
}

#[test]
fn groups_are_as_large_as_they_may_be() {
    let inputs = [("a", 5), ("b", 5), ("c", 20), ("d", 1), ("e", 1)];
    let inputs = inputs.iter().map(|(path, size)| input(path, *size, &[(1, 2)])).collect();
    let planned = plan(
        Window::Between(None, Timestamp(9)),
        Visible::Event,
        None,
        SourceInputs::Files(inputs),
    );
    let sizes =
        |bytes| -> Vec<usize> { planned.groups(bytes).into_iter().map(<[_]>::len).collect() };
    assert_eq!(sizes(10), [2, 1, 2]);
    assert_eq!(sizes(1), [1, 1, 1, 1, 1]);
    assert_eq!(sizes(u64::MAX), [5]);
    assert_eq!(planned.files[0].why, Why::Asked);
}

#[test]
fn a_ledger_claims_what_was_read() {
    let (a, b) = (input("a", 1, &[(1, 20)]), input("b", 1, &[(1, 40)]));
    let mut ledger = Ledger::begun(Digest::of("now"), None);
    ledger.add(&[whole(&b)], Timestamp(30));
    ledger.add(&[whole(&a)], Timestamp(25));
    let paths: Vec<String> = ledger.files.iter().map(|read| read.file.path.to_string()).collect();
    assert_eq!(paths, ["a", "b"]);
    // Not all files were read: a run is not at its end.
    ledger.finish(&["a", "b", "c"].into(), Timestamp(30), Timestamp(99));
    assert_eq!((ledger.through, ledger.succeeded_at), (None, None));
    ledger.finish(&["a", "b"].into(), Timestamp(30), Timestamp(99));
    // The first has no row after 20, so all of its rows up to 30 were read.
    assert_eq!((ledger.through, ledger.succeeded_at), (Some(Timestamp(30)), Some(Timestamp(99))));
    ledger.add(&[whole(&b)], Timestamp(40));
    ledger.finish(&["b"].into(), Timestamp(40), Timestamp(100));
    assert_eq!(ledger.files, [read(&b, 40, Some(40))]);
    assert_eq!(ledger.through, Some(Timestamp(40)));
    let again = Ledger::begun(Digest::of("now"), Some(&ledger));
    assert_eq!((again.through, again.files), (Some(Timestamp(40)), Vec::new()));
    assert_eq!(again.resets, 0);
    let other = Ledger::begun(Digest::of("other"), Some(&ledger));
    assert_eq!((other.through, other.resets), (None, 1));
}

#[test]
fn later_rows_of_a_file_are_claimed_with_those_before_them_or_not_at_all() {
    let a = input("a", 1, &[(1, 40)]);
    let check = |was: Option<ReadFile>, expected: Option<ReadFile>| {
        let mut ledger = ledger(Vec::from_iter(was));
        let later = PlannedFile { from: Some(Timestamp(20)), ..whole(&a) };
        ledger.add(&[later], Timestamp(30));
        assert_eq!(ledger.files, Vec::from_iter(expected));
    };
    let now = Some(read(&a, 30, Some(40)));
    check(Some(read(&a, 20, Some(40))), now.clone());
    check(Some(read(&a, 25, Some(40))), now.clone());
    check(Some(read(&a, 19, Some(19))), now);
    // Another run began from nothing meanwhile: it is at its beginning,
    check(None, None);
    // or its end was an earlier one,
    check(Some(read(&a, 19, Some(40))), Some(read(&a, 19, Some(40))));
    // or it found another file under this name.
    let other = read(&input("a", 2, &[(1, 40)]), 20, Some(40));
    check(Some(other.clone()), Some(other));
}

#[test]
fn under_a_longer_ttl_rows_may_lack() {
    let check = |was: Option<i64>, now: Option<i64>, lack: bool| {
        let ledger = Ledger { ttl: was.map(Span), ..ledger(Vec::new()) };
        assert_eq!(ledger.may_lack_rows(now.map(Span)), lack, "{was:?} {now:?}");
    };
    check(None, None, false);
    check(None, Some(5), false);
    check(Some(5), Some(5), false);
    check(Some(5), Some(4), false);
    check(Some(5), Some(6), true);
    check(Some(5), None, true);
}
