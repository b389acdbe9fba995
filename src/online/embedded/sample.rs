//! Some rows of a view, spread over its keys, at the price of a seek for each.

use std::collections::BTreeSet;

use heed::RoTxn;

use super::{
    super::{RowBatch, ViewId, scatter::scatter},
    FullKey, counted, entity_of,
    environment::Tables,
};

/// See [`OnlineStore::sample`](super::super::OnlineStore::sample).
///
/// The span between the view's first and last key is divided into `limit` strips, and the row after
/// a point of each is taken. That is fair where keys are numbers or hashes; where they are
/// crowded, several points find one row, and the first rows of the view make up for it.
pub(super) fn sample(
    txn: &RoTxn,
    tables: Tables,
    view: ViewId,
    limit: usize,
    seed: u64,
) -> heed::Result<RowBatch> {
    let all = counted(txn, tables, view)? <= limit as u64;
    let mut chosen = if all { BTreeSet::new() } else { spread(txn, tables, view, limit, seed)? };
    for entry in tables.entities.prefix_iter(txn, view.as_bytes())? {
        if chosen.len() >= limit {
            break;
        }
        chosen.insert(entry?.0);
    }
    let (mut rows, mut full_key) = (RowBatch::default(), FullKey::default());
    for entity in chosen.into_iter().map(entity_of) {
        if let Some(row) = tables.rows.get(txn, full_key.row(entity, view))? {
            rows.push(entity, row.version, |out| out.extend_from_slice(row.value));
        }
    }
    Ok(rows)
}

fn spread<'txn>(
    txn: &'txn RoTxn,
    tables: Tables,
    view: ViewId,
    limit: usize,
    seed: u64,
) -> heed::Result<BTreeSet<&'txn [u8]>> {
    let (mut found, view) = (BTreeSet::new(), view.as_bytes().as_slice());
    let first = tables.entities.prefix_iter(txn, view)?.next().transpose()?;
    let last = tables.entities.rev_prefix_iter(txn, view)?.next().transpose()?;
    let (Some((first, _)), Some((last, _))) = (first, last) else {
        return Ok(found);
    };
    let span = Span::between(first, last);
    for strip in 0..limit as u64 {
        let point = span.point(strip, limit as u64, seed);
        if let Some((key, _)) = tables.entities.get_greater_than_or_equal_to(txn, &point)?
            && key.starts_with(view)
        {
            found.insert(key);
        }
    }
    Ok(found)
}

/// The keys between two keys, as numbers: what follows their common beginning.
struct Span<'a> {
    common: &'a [u8],
    from: u64,
    to: u64,
}

impl<'a> Span<'a> {
    fn between(first: &'a [u8], last: &[u8]) -> Self {
        let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let number = |key: &[u8]| {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(&key[common..]) {
                *to = *from;
            }
            u64::from_be_bytes(bytes)
        };
        Self { common: &first[..common], from: number(first), to: number(last) }
    }

    /// A point in one of `strips` strips, chosen by `seed`.
    fn point(&self, strip: u64, strips: u64, seed: u64) -> Vec<u8> {
        let within = u128::from(scatter(seed ^ strip) >> 32);
        let share = (u128::from(strip) << 32) + within;
        let offset =
            u128::from(self.to.saturating_sub(self.from)) * share / (u128::from(strips) << 32);
        let number = self.from.saturating_add(offset as u64);
        [self.common, &number.to_be_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_ascending_and_stay_within_the_span() {
        let check = |first: &[u8], last: &[u8], strips: u64| {
            let span = Span::between(first, last);
            for seed in 0..20 {
                let points: Vec<_> =
                    (0..strips).map(|strip| span.point(strip, strips, seed)).collect();
                assert!(points.is_sorted(), "{first:?} {last:?} {seed}");
                assert!(points.iter().all(|point| point.as_slice() >= &first[..span.common.len()]));
                assert!(span.to >= span.from && points.len() == strips as usize);
            }
        };
        check(&[7, 0, 0], &[7, 255, 255], 10);
        check(&[7], &[7, 1], 3);
        check(&[0; 20], &[255; 20], 1000);
        check(b"same", b"same", 2);
    }
}
