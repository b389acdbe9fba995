//! How the operators of a plan share the memory they are given.
//!
//! DataFusion's `FairSpillPool` divides all of it among the sorts that there are. A sort that is
//! first at work takes what is for those to come, and none leaves anything to the merges at the end
//! of each, which cannot wait and fail: whether a plan succeeds depends on which of its partitions
//! is ahead. Here sorts share as if all partitions were at work, and a part is for others alone.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use datafusion::{
    common::resources_datafusion_err,
    error::Result,
    execution::memory_pool::{
        MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
    },
};

/// What part of the memory is for those that cannot spill alone.
const FOR_OTHERS: usize = 4;

/// A pool of memory that sorts, which can spill, share evenly.
#[derive(Debug)]
pub(super) struct SharedMemory {
    bytes: usize,
    /// How many sorts there are at least, as far as their share is concerned.
    at_once: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    sorts: usize,
    by_sorts: usize,
    by_others: usize,
}

impl Used {
    /// What a consumer's memory counts to.
    fn by(&mut self, consumer: &MemoryConsumer) -> &mut usize {
        match consumer.can_spill() {
            true => &mut self.by_sorts,
            false => &mut self.by_others,
        }
    }
}

impl SharedMemory {
    /// So many bytes, for plans of so many partitions.
    pub(super) fn new(bytes: usize, partitions: usize) -> Self {
        Self { bytes, at_once: partitions.max(1), used: Mutex::default() }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much a consumer may have more.
    fn left(&self, reservation: &MemoryReservation, used: &Used) -> usize {
        let for_others = self.bytes / FOR_OTHERS;
        if !reservation.consumer().can_spill() {
            let left = self.bytes.saturating_sub(used.by_sorts).max(for_others);
            return left.saturating_sub(used.by_others);
        }
        let for_sorts = self.bytes - used.by_others.clamp(for_others, self.bytes);
        let share = for_sorts / used.sorts.max(self.at_once);
        share.saturating_sub(reservation.size())
    }
}

impl MemoryPool for SharedMemory {
    fn name(&self) -> &str {
        "shared"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.used().sorts += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut used = self.used();
        used.sorts = used.sorts.saturating_sub(usize::from(consumer.can_spill()));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.used().by(reservation.consumer()) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut used = self.used();
        let used = used.by(reservation.consumer());
        *used = used.saturating_sub(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut used = self.used();
        let left = self.left(reservation, &used);
        if additional > left {
            return Err(resources_datafusion_err!(
                "{} has {} and cannot have {} more: {} are left of {self}",
                reservation.consumer().name(),
                human_readable_size(reservation.size()),
                human_readable_size(additional),
                human_readable_size(left)
            ));
        }
        *used.by(reservation.consumer()) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let used = self.used();
        used.by_sorts + used.by_others
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

impl fmt::Display for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of memory", human_readable_size(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pool(partitions: usize) -> Arc<dyn MemoryPool> {
        Arc::new(SharedMemory::new(1_000, partitions))
    }

    fn sort(pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
        MemoryConsumer::new("sort").with_can_spill(true).register(pool)
    }

    fn merge(pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
        MemoryConsumer::new("merge").register(pool)
    }

    /// The most that can be had more.
    fn left(reservation: &MemoryReservation) -> usize {
        let fits = |bytes: &usize| {
            let fits = reservation.try_grow(*bytes).is_ok();
            if fits {
                reservation.shrink(*bytes);
            }
            fits
        };
        (0..=1_000).rev().find(fits).unwrap()
    }

    #[test]
    fn a_sort_that_is_first_leaves_their_share_to_those_to_come() {
        let pool = pool(2);
        let first = sort(&pool);
        assert_eq!(left(&first), 375);
        first.try_grow(375).unwrap();
        let (second, third) = (sort(&pool), sort(&pool));
        assert_eq!([left(&first), left(&second), left(&third)], [0, 250, 250]);
        first.free();
        drop((second, third));
        assert_eq!(left(&first), 375);
    }

    #[test]
    fn a_merge_has_what_no_sort_may_take() {
        let pool = pool(1);
        let (sort, merge) = (sort(&pool), merge(&pool));
        assert_eq!(left(&merge), 1_000);
        sort.try_grow(left(&sort)).unwrap();
        assert_eq!((sort.size(), left(&merge)), (750, 250));
        sort.free();
        merge.try_grow(400).unwrap();
        assert_eq!((left(&sort), left(&merge), pool.reserved()), (600, 600, 400));
    }

    #[test]
    fn what_is_refused_is_said_with_the_sizes() {
        let pool = pool(1);
        let error = sort(&pool).try_grow(1_000_000).unwrap_err().strip_backtrace();
        let expected = "Resources exhausted: sort has 0.0 B and cannot have 976.6 KB more: 750.0 B \
                        are left of 1000.0 B of memory";
        assert_eq!(error, expected);
    }
}
