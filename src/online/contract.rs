//! What every [`OnlineStore`] holds to, as a suite that runs against any of them.
//!
//! A check panics when the store breaks the contract, as tests do. Each works on views of its own,
//! so that the store may hold other rows.

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, StringArray};
use futures::future::join_all;

use super::{
    EntityKeys, FingerprintPrefix, JoinKeys, Lookup, OnlineStore, ReadRows, RowBatch, RowVersion,
    Rows, StoredRow, ViewId, WriteReport,
};
use crate::{
    digest::Digest,
    time::Timestamp,
    value::{DataType, Field},
};

/// Runs every check.
///
/// # Panics
/// When the store breaks the contract.
pub async fn contract(store: &dyn OnlineStore) {
    nothing_is_there_before_it_is_written(store).await;
    the_newest_row_wins_in_any_order(store).await;
    the_newest_row_of_a_batch_wins(store).await;
    the_same_row_again_changes_nothing(store).await;
    a_correction_lands(store).await;
    another_definition_replaces_the_value(store).await;
    concurrent_writers_end_at_the_newest(store).await;
    a_read_answers_views_times_keys(store).await;
    views_and_types_of_keys_are_apart(store).await;
    empty_requests_are_answered(store).await;
    values_of_any_size_come_back(store).await;
    long_keys_find_their_rows(store).await;
    a_sample_has_no_row_twice(store).await;
    a_crowded_sample_is_complete(store).await;
    a_deleted_view_is_gone(store).await;
    outdated_rows_are_told_from_others(store).await;
}

fn view(name: &str) -> ViewId {
    ViewId::of("contract", name)
}

fn join_keys(data_type: DataType) -> JoinKeys {
    let (name, documentation) = ("id".to_owned(), String::new());
    let field = Field { name, data_type, nullable: false, documentation };
    JoinKeys::new(vec![field]).expect("one join key")
}

fn keys(ids: impl IntoIterator<Item = Option<i64>>) -> EntityKeys {
    let column: ArrayRef = Arc::new(Int64Array::from_iter(ids));
    join_keys(DataType::Int64).keys(&[column]).expect("one join key")
}

fn text_keys(ids: &[String]) -> EntityKeys {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(ids));
    join_keys(DataType::Utf8).keys(&[column]).expect("one join key")
}

fn version(event: i64, created: Option<i64>, content: u64) -> RowVersion {
    RowVersion { event: Timestamp(event), created: created.map(Timestamp), content }
}

/// Rows of entities by id.
fn batch(rows: &[(i64, RowVersion, &str)]) -> RowBatch {
    let mut batch = RowBatch::default();
    for ((_, version, value), key) in
        rows.iter().zip(keys(rows.iter().map(|row| Some(row.0))).iter())
    {
        batch.push(key.expect("no null"), *version, |out| out.extend_from_slice(value.as_bytes()));
    }
    batch
}

async fn write(
    store: &dyn OnlineStore,
    view: ViewId,
    rows: &[(i64, RowVersion, &str)],
) -> WriteReport {
    store.write(view, batch(rows), None).await.expect("write")
}

type Found = Option<(RowVersion, String)>;

/// What one lookup finds.
async fn look_up(store: &dyn OnlineStore, views: &[ViewId], keys: &EntityKeys) -> ReadRows {
    store.read(&[Lookup { views, keys }]).await.expect("read").remove(0)
}

async fn read(store: &dyn OnlineStore, view: ViewId, keys: &EntityKeys) -> Vec<Found> {
    let rows = look_up(store, &[view], keys).await;
    let owned = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    rows.view(0).map(|row| row.map(|row| (row.version, owned(row.value)))).collect()
}

async fn read_one(store: &dyn OnlineStore, view: ViewId, id: i64) -> Found {
    read(store, view, &keys([Some(id)])).await.remove(0)
}

fn found(version: RowVersion, value: &str) -> Found {
    Some((version, value.to_owned()))
}

const fn report(written: u64, stale: u64, unchanged: u64) -> WriteReport {
    WriteReport { written, stale, unchanged }
}

async fn nothing_is_there_before_it_is_written(store: &dyn OnlineStore) {
    let view = view("nothing");
    assert_eq!(read(store, view, &keys([Some(1), None])).await, [None, None]);
    assert_eq!(store.count(view, Rows::All).await, Ok(0));
    assert_eq!(store.sample(view, 5, 0).await.expect("sample").len(), 0);
    assert_eq!(store.delete(view, Rows::All).await, Ok(0));
}

/// Versions of one entity that differ in each part of the order, oldest first.
fn ascending() -> [RowVersion; 6] {
    [
        version(-5, Some(100), 9),
        version(0, None, 9),
        version(0, Some(-1), 9),
        version(0, Some(7), 1),
        version(0, Some(7), u64::MAX),
        version(1, None, 0),
    ]
}

async fn the_newest_row_wins_in_any_order(store: &dyn OnlineStore) {
    for (i, older) in ascending().into_iter().enumerate() {
        for (j, newer) in ascending().into_iter().enumerate().skip(i + 1) {
            let view = view(&format!("order {i} {j}"));
            write(store, view, &[(1, older, "old"), (2, newer, "new")]).await;
            assert_eq!(
                write(store, view, &[(1, newer, "new")]).await,
                report(1, 0, 0),
                "{older:?} {newer:?}"
            );
            assert_eq!(
                write(store, view, &[(2, older, "old")]).await,
                report(0, 1, 0),
                "{older:?} {newer:?}"
            );
            assert_eq!(
                read(store, view, &keys([Some(1), Some(2)])).await,
                [found(newer, "new"), found(newer, "new")]
            );
        }
    }
}

async fn the_newest_row_of_a_batch_wins(store: &dyn OnlineStore) {
    let (view, newest) = (view("batch"), version(3, None, 0));
    let rows = [
        (1, version(2, None, 0), "second"),
        (1, newest, "newest"),
        (1, newest, "newest"),
        (1, version(1, None, 0), "first"),
        (2, version(1, None, 0), "alone"),
    ];
    assert_eq!(write(store, view, &rows).await, report(2, 2, 1));
    assert_eq!(read_one(store, view, 1).await, found(newest, "newest"));
    assert_eq!(store.count(view, Rows::All).await, Ok(2));
}

async fn the_same_row_again_changes_nothing(store: &dyn OnlineStore) {
    let (view, version) = (view("again"), version(1, Some(2), 3));
    assert_eq!(write(store, view, &[(1, version, "x")]).await, report(1, 0, 0));
    assert_eq!(write(store, view, &[(1, version, "x")]).await, report(0, 0, 1));
    assert_eq!(read_one(store, view, 1).await, found(version, "x"));
    assert_eq!(store.count(view, Rows::All).await, Ok(1));
}

async fn a_correction_lands(store: &dyn OnlineStore) {
    let (view, wrong, right) = (view("correction"), version(1, Some(1), 9), version(1, Some(2), 1));
    write(store, view, &[(1, wrong, "wrong")]).await;
    assert_eq!(write(store, view, &[(1, right, "right")]).await, report(1, 0, 0));
    assert_eq!(write(store, view, &[(1, wrong, "wrong")]).await, report(0, 1, 0));
    assert_eq!(read_one(store, view, 1).await, found(right, "right"));
}

async fn another_definition_replaces_the_value(store: &dyn OnlineStore) {
    let (view, version) = (view("definition"), version(1, None, 1));
    write(store, view, &[(1, version, "by the old one")]).await;
    assert_eq!(write(store, view, &[(1, version, "by the new one")]).await, report(1, 0, 0));
    assert_eq!(read_one(store, view, 1).await, found(version, "by the new one"));
    assert_eq!(store.count(view, Rows::All).await, Ok(1));
}

/// A generator of numbers, the same in every run.
struct Lottery(u64);

impl Lottery {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.draw(i as u64 + 1) as usize);
        }
    }
}

async fn concurrent_writers_end_at_the_newest(store: &dyn OnlineStore) {
    const ENTITIES: i64 = 20;
    for seed in 0..8 {
        let (view, mut lottery) = (view(&format!("writers {seed}")), Lottery(seed));
        let mut versions: Vec<_> = (0..4)
            .flat_map(|event| [version(event, None, 1), version(event, Some(event), 2)])
            .collect();
        let newest = *versions.iter().max().expect("some");
        lottery.shuffle(&mut versions);
        let mut writes = Vec::new();
        for version in versions {
            let mut ids: Vec<_> = (0..ENTITIES).collect();
            lottery.shuffle(&mut ids);
            let rows: Vec<_> =
                ids.into_iter().map(|id| (id, version, format!("{id} {version:?}"))).collect();
            let rows: Vec<_> =
                rows.iter().map(|(id, version, value)| (*id, *version, value.as_str())).collect();
            writes.push(store.write(view, batch(&rows), None));
        }
        for report in join_all(writes).await {
            let WriteReport { written, stale, unchanged } = report.expect("write");
            assert_eq!((written + stale, unchanged), (ENTITIES as u64, 0));
        }
        let expected: Vec<_> =
            (0..ENTITIES).map(|id| found(newest, &format!("{id} {newest:?}"))).collect();
        assert_eq!(
            read(store, view, &keys((0..ENTITIES).map(Some))).await,
            expected,
            "seed {seed}"
        );
        assert_eq!(store.count(view, Rows::All).await, Ok(ENTITIES as u64));
    }
}

async fn a_read_answers_views_times_keys(store: &dyn OnlineStore) {
    let (a, b, version) = (view("times a"), view("times b"), version(1, None, 1));
    write(store, a, &[(1, version, "a1"), (2, version, "a2")]).await;
    write(store, b, &[(2, version, "b2")]).await;
    let (four, one) = (keys([Some(2), None, Some(1), Some(2)]), keys([Some(1)]));
    let lookups = [(&[b, a, b][..], &four), (&[], &four), (&[a], &one), (&[b], &keys([]))];
    let lookups = lookups.map(|(views, keys)| Lookup { views, keys });
    let found = store.read(&lookups).await.expect("read");
    assert_eq!(found.len(), lookups.len());
    let value = |row: &Option<StoredRow<'_>>| row.map(|row| row.value.to_vec());
    assert_eq!(found[2].view(0).map(|row| value(&row)).collect::<Vec<_>>(), [Some(b"a1".to_vec())]);
    assert_eq!((found[1].view(0).len(), found[3].view(0).len()), (0, 0));
    let rows = &found[0];
    let values = |view: usize| -> Vec<Option<&[u8]>> {
        rows.view(view).map(|row| row.map(|row| row.value)).collect()
    };
    let in_b = [Some(b"b2".as_slice()), None, None, Some(b"b2")];
    assert_eq!(values(0), in_b);
    assert_eq!(values(1), [Some(b"a2".as_slice()), None, Some(b"a1"), Some(b"a2")]);
    assert_eq!(values(2), in_b);
}

async fn views_and_types_of_keys_are_apart(store: &dyn OnlineStore) {
    let (a, b, version) = (view("apart a"), view("apart b"), version(1, None, 1));
    write(store, a, &[(1, version, "number")]).await;
    assert_eq!(read_one(store, b, 1).await, None);
    assert_eq!(read(store, a, &text_keys(&["1".to_owned()])).await, [None]);
}

async fn empty_requests_are_answered(store: &dyn OnlineStore) {
    let view = view("empty");
    assert_eq!(store.read(&[]).await.expect("read").len(), 0);
    assert_eq!(look_up(store, &[], &keys([Some(1)])).await.view(0).len(), 0);
    assert_eq!(read(store, view, &keys([])).await, []);
    assert_eq!(store.write(view, RowBatch::default(), None).await, Ok(WriteReport::default()));
    assert_eq!(store.count(view, Rows::All).await, Ok(0));
}

async fn values_of_any_size_come_back(store: &dyn OnlineStore) {
    let view = view("sizes");
    let values: Vec<_> = [0, 1, 1_000, 5_000, 3_000_000].map(|size| "x".repeat(size)).into();
    for shift in 0..2 {
        let version = version(shift, None, 1);
        // In the second round every entity has a value of another size than in the first.
        let sized = |id: usize| values[(id + shift as usize) % values.len()].as_str();
        let rows: Vec<_> = (0..values.len()).map(|id| (id as i64, version, sized(id))).collect();
        assert_eq!(write(store, view, &rows).await, report(values.len() as u64, 0, 0));
        for (id, version, value) in rows {
            assert!(
                read_one(store, view, id).await == found(version, value),
                "{} bytes",
                value.len()
            );
        }
    }
}

async fn long_keys_find_their_rows(store: &dyn OnlineStore) {
    let (view, version) = (view("long keys"), version(1, None, 1));
    let ids: Vec<_> = [1, 480, 491, 492, 493, 3_000, 3_001].map(|length| "k".repeat(length)).into();
    let mut rows = RowBatch::default();
    for (id, key) in ids.iter().zip(text_keys(&ids).iter()) {
        rows.push(key.expect("no null"), version, |out| {
            out.extend_from_slice(&id.len().to_le_bytes())
        });
    }
    assert_eq!(store.write(view, rows, None).await, Ok(report(ids.len() as u64, 0, 0)));
    let rows = look_up(store, &[view], &text_keys(&ids)).await;
    for (id, row) in ids.iter().zip(rows.view(0)) {
        assert_eq!(row.map(|row| row.value), Some(id.len().to_le_bytes().as_slice()));
    }
}

/// The keys and values of a sample; none may be there twice.
async fn sample(
    store: &dyn OnlineStore,
    view: ViewId,
    limit: usize,
    seed: u64,
) -> BTreeSet<(Vec<u8>, Vec<u8>)> {
    let rows = store.sample(view, limit, seed).await.expect("sample");
    let distinct: BTreeSet<_> =
        rows.iter().map(|(key, row)| (key.to_vec(), row.value.to_vec())).collect();
    assert_eq!(distinct.len(), rows.len());
    distinct
}

async fn a_sample_has_no_row_twice(store: &dyn OnlineStore) {
    const ROWS: i64 = 1_000;
    let (view, version) = (view("sample"), version(1, None, 1));
    let texts: Vec<_> = (0..ROWS).map(|id| id.to_string()).collect();
    let rows: Vec<_> =
        (0..ROWS).zip(&texts).map(|(id, text)| (id, version, text.as_str())).collect();
    write(store, view, &rows).await;
    let all: BTreeSet<_> =
        batch(&rows).iter().map(|(key, row)| (key.to_vec(), row.value.to_vec())).collect();
    for (limit, expected) in [(0, 0), (1, 1), (100, 100), (1_000, 1_000), (5_000, 1_000)] {
        let sampled = sample(store, view, limit, 7).await;
        assert_eq!(sampled.len(), expected);
        assert!(sampled.is_subset(&all));
    }
    assert_ne!(sample(store, view, 100, 1).await, sample(store, view, 100, 2).await);
    let latter_half = sample(store, view, 100, 1)
        .await
        .into_iter()
        .filter(|(_, value)| value.len() == 3 && *value >= b"500".to_vec());
    assert!((25..=75).contains(&latter_half.count()), "spread over the keys");
}

async fn a_crowded_sample_is_complete(store: &dyn OnlineStore) {
    let (view, version) = (view("crowded"), version(1, None, 1));
    let crowd = (0..50).chain([i64::MIN, i64::MAX]);
    let rows: Vec<_> = crowd.map(|id| (id, version, "")).collect();
    write(store, view, &rows).await;
    assert_eq!(sample(store, view, 40, 3).await.len(), 40);
}

async fn a_deleted_view_is_gone(store: &dyn OnlineStore) {
    let (gone, kept, version) = (view("gone"), view("kept"), version(9, None, 1));
    let rows: Vec<_> = (0..40_000).map(|id| (id, version, "x")).collect();
    assert_eq!(write(store, gone, &rows).await, report(40_000, 0, 0));
    write(store, kept, &[(1, version, "kept")]).await;
    assert_eq!(store.delete(gone, Rows::All).await, Ok(40_000));
    assert_eq!(store.count(gone, Rows::All).await, Ok(0));
    assert_eq!(read(store, gone, &keys([Some(0), Some(39_999)])).await, [None, None]);
    assert_eq!(read_one(store, kept, 1).await, found(version, "kept"));
    let older = self::version(1, None, 1);
    assert_eq!(write(store, gone, &[(1, older, "anew")]).await, report(1, 0, 0));
    assert_eq!(read_one(store, gone, 1).await, found(older, "anew"));
}

async fn outdated_rows_are_told_from_others(store: &dyn OnlineStore) {
    const ROWS: i64 = 40_000;
    let view = view("outdated");
    let definition = |name: &str| FingerprintPrefix::from(&Digest::of(name));
    let mut rows = RowBatch::default();
    // Every third row is of the definition in force, one is of none.
    let by = |id: i64| match id {
        1 => Vec::new(),
        id if id % 3 == 0 => definition("new").start_of_values().to_vec(),
        _ => definition("old").start_of_values().to_vec(),
    };
    for (id, key) in (0..ROWS).zip(keys((0..ROWS).map(Some)).iter().flatten()) {
        rows.push(key, version(1, None, 1), |out| out.extend_from_slice(&by(id)));
    }
    store.write(view, rows, None).await.expect("write");
    let outdated = Rows::Outdated(definition("new"));
    let new = (ROWS as u64).div_ceil(3);
    assert_eq!(store.count(view, outdated).await, Ok(ROWS as u64 - new));
    assert_eq!(store.delete(view, outdated).await, Ok(ROWS as u64 - new));
    assert_eq!(store.count(view, outdated).await, Ok(0));
    assert_eq!(store.delete(view, outdated).await, Ok(0));
    assert_eq!(store.count(view, Rows::All).await, Ok(new));
    let there = read(store, view, &keys((0..9).map(Some))).await;
    let there: Vec<bool> = there.iter().map(Option::is_some).collect();
    assert_eq!(there, [true, false, false, true, false, false, true, false, false]);
}
