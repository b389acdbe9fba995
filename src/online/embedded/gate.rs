//! Many transactions, or one change of the map under them.

use std::{
    cell::Cell,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

const SHARDS: usize = 16;

/// A lock that threads share without touching each other's cache lines: a thread that enters
/// locks a shard of its own, and the rare one that wants the gate to itself locks all of them.
#[derive(Debug, Default)]
pub(super) struct Gate {
    shards: [Shard; SHARDS],
}

/// 128 bytes, because processors fetch cache lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(RwLock<()>);

impl Gate {
    /// Enters together with others. A thread that is inside must not enter again.
    pub(super) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        let shard = &self.shards[own_shard() % SHARDS];
        shard.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everybody left and keeps others out.
    pub(super) fn close(&self) -> [RwLockWriteGuard<'_, ()>; SHARDS] {
        self.shards.each_ref().map(|shard| shard.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    OWN.get()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn nobody_is_inside_when_the_gate_is_closed() {
        let gate = Gate::default();
        let inside = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..SHARDS + 4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let _entered = gate.enter();
                        inside.fetch_add(1, Ordering::Relaxed);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..200 {
                let _closed = gate.close();
                assert_eq!(inside.load(Ordering::Relaxed), 0);
                thread::yield_now();
                assert_eq!(inside.load(Ordering::Relaxed), 0);
            }
        });
    }
}
