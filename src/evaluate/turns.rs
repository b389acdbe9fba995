//! Turns: how the calls of many requests share a server.
//!
//! A call runs on the thread that makes it, for as long as the guest likes, up to its deadline. In
//! a server that thread has other requests to see to. So what takes its time is computed [`apart`]
//! from them, and waits for its turn before that, without holding a thread: so many computations at a
//! time, and no more than its share for one transform. A call does nothing but compute, so that more
//! of them than there are processors are done no sooner, and take the processors from all others.
//!
//! To hand a thread's other work over costs more than most calls take. So a call is first made on the
//! spot, out of turn, and given a moment; what has not ended by then is stopped, and made again apart,
//! from its beginning: a call has no effects but its answer. Computations that took their time go
//! apart directly, until they are [quick](QUICK_IN_A_ROW) again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{Semaphore, SemaphorePermit},
    task,
    time::{self, Instant},
};

use crate::{
    digest::Digest,
    error::{Error, Result},
    time::Span,
    wasm::Limits,
};

/// The most computations of a server at a time, whatever the limits say: each holds a thread, and
/// Tokio has 512 of those.
const MOST: u32 = 256;

/// How long a computation may hold a thread that has other requests to see to, before it is stopped
/// and made again apart.
const MOMENT: Span = Span(10_000);

/// How long one takes at the most that is not sent apart the next time.
const QUICK: Duration = Duration::from_micros(200);

/// How many have to be quick, after one that took more than a moment, until one is made on the spot
/// again: of a function that is slow now and then, few of the slow calls hold a thread that others
/// need. After one that was merely not quick, or was kept waiting by the machine, a single one has to.
const QUICK_IN_A_ROW: u32 = 64;

/// Whether a computation has taken its time lately.
#[derive(Debug, Default)]
pub struct Pace {
    /// How many have yet to be quick. Threads that count at the same time may count one twice, or
    /// lose one.
    to_be_quick: AtomicU32,
}

impl Pace {
    fn is_quick(&self) -> bool {
        self.to_be_quick.load(Relaxed) == 0
    }

    /// Does work, and takes note of how long that takes.
    fn measure<R>(&self, work: impl FnOnce() -> R) -> (R, Duration) {
        let begun = Instant::now();
        let done = work();
        let took = begun.elapsed();
        self.took(took);
        (done, took)
    }

    fn took(&self, time: Duration) {
        let before = self.to_be_quick.load(Relaxed);
        let after = match time {
            time if time >= Duration::from(MOMENT) => QUICK_IN_A_ROW,
            time if time > QUICK => before.max(1),
            _ => before.saturating_sub(1),
        };
        // What is not written stays in the caches of all processors.
        if before != after {
            self.to_be_quick.store(after, Relaxed);
        }
    }
}

/// Does work that may take as long as a guest likes on this thread, while another takes over what
/// else the thread had to do; where there is no such other, the work is simply done.
pub fn apart<R>(work: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => task::block_in_place(work),
        _ => work(),
    }
}

/// The turns of all computations in a process, and the share of each transform.
#[derive(Debug)]
pub struct Turns {
    all: Line,
    shares: BTreeMap<Digest, Line>,
    queue_time: Span,
}

impl Turns {
    /// The turns that these limits allow, for these transforms.
    pub fn new(limits: &Limits, transforms: impl IntoIterator<Item = Digest>) -> Self {
        let calls = limits.concurrent_calls.min(MOST);
        let share = limits.calls_per_transform.min(calls);
        let shares = transforms.into_iter().map(|digest| {
            (digest, Line::new(format!("calls of {}", digest.short()), share, limits.queued_calls))
        });
        Self {
            all: Line::new("calls".to_owned(), calls, limits.queued_calls),
            shares: shares.collect(),
            queue_time: limits.queue_time,
        }
    }

    /// Waits for a turn of all these transforms, and does the work apart; work that calls none
    /// is done at once.
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::error::Kind::Unavailable) when too many wait already, or none
    /// of those before it ends in time; those of the work.
    pub async fn run<R>(
        &self,
        transforms: &BTreeSet<Digest>,
        work: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        if transforms.is_empty() {
            return work();
        }
        let _turns = self.take(transforms).await?;
        apart(work)
    }

    /// As [`run`](Self::run), but on the spot where `pace` says that the work has been quick. It is
    /// given how long its calls may take, where that is less than their own limits say, and may be
    /// done twice: it has no effects.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub async fn run_paced<R>(
        &self,
        transforms: &BTreeSet<Digest>,
        pace: &Pace,
        work: impl Fn(Option<Span>) -> Result<R>,
    ) -> Result<R> {
        if transforms.is_empty() {
            return work(None);
        }
        if let Some(done) = self.on_the_spot(pace, &work) {
            return done;
        }
        let _turns = self.take(transforms).await?;
        apart(|| pace.measure(|| work(None)).0)
    }

    /// Does the work within a moment, where it has been quick and the pool has a place for it now.
    /// `None` where it has not been done: it is to be done apart.
    fn on_the_spot<R>(
        &self,
        pace: &Pace,
        work: impl Fn(Option<Span>) -> Result<R>,
    ) -> Option<Result<R>> {
        if !pace.is_quick() {
            return None;
        }
        let _turn = self.all.free.try_acquire().ok()?;
        let (done, took) = pace.measure(|| work(Some(MOMENT)));
        (done.is_ok() || took < Duration::from(MOMENT)).then_some(done)
    }

    async fn take(&self, transforms: &BTreeSet<Digest>) -> Result<Vec<SemaphorePermit<'_>>> {
        let until = Instant::now() + Duration::from_micros(self.queue_time.0.unsigned_abs());
        let shares = transforms.iter().filter_map(|digest| self.shares.get(digest));
        let mut taken = Vec::with_capacity(transforms.len() + 1);
        // All take them in this order, so that no two wait for each other.
        for line in shares.chain([&self.all]) {
            taken.push(line.take(until, self.queue_time).await?);
        }
        Ok(taken)
    }
}

/// Turns of one kind, and those who wait for one, first come, first served.
#[derive(Debug)]
struct Line {
    what: String,
    turns: u32,
    free: Semaphore,
    /// How many may wait.
    places: u32,
    waiting: AtomicU32,
}

impl Line {
    fn new(what: String, turns: u32, places: u32) -> Self {
        let (free, waiting) = (Semaphore::new(turns as usize), AtomicU32::new(0));
        Self { what, turns, free, places, waiting }
    }

    async fn take(&self, until: Instant, queue_time: Span) -> Result<SemaphorePermit<'_>> {
        if let Ok(permit) = self.free.try_acquire() {
            return Ok(permit);
        }
        let _place = self.enter()?;
        match time::timeout_at(until, self.free.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // Nobody closes the semaphore.
            Ok(Err(error)) => Err(Error::internal(error.to_string())),
            Err(_) => Err(busy(format!(
                "{} at a time over the limit for {queue_time}: limit {}, current {}, requested {}",
                self.what,
                self.turns,
                self.turns,
                u64::from(self.turns) + 1
            ))),
        }
    }

    fn enter(&self) -> Result<Place<'_>> {
        let one_more = |waiting| (waiting < self.places).then_some(waiting + 1);
        match self.waiting.fetch_update(Relaxed, Relaxed, one_more) {
            Ok(_) => Ok(Place(&self.waiting)),
            Err(waiting) => Err(busy(format!(
                "waiting {} over the limit: limit {}, current {waiting}, requested {}",
                self.what,
                self.places,
                u64::from(waiting) + 1
            ))),
        }
    }
}

fn busy(message: String) -> Error {
    Error::unavailable(message).with_hint(
        "the calls before it take long: look for a slow transform, or raise calls_per_transform, \
         concurrent_calls or queue_time in [limits] of unskew.toml",
    )
}

/// A place among those who wait; free again when dropped.
struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::error::Kind;

    fn turns(queued_calls: u32, queue_time: Span) -> (Arc<Turns>, [BTreeSet<Digest>; 2]) {
        let limits = Limits {
            concurrent_calls: 3,
            calls_per_transform: 2,
            queued_calls,
            queue_time,
            ..Limits::default()
        };
        let digests = [Digest::of(b"slow"), Digest::of(b"quick")];
        (Arc::new(Turns::new(&limits, digests)), digests.map(|digest| BTreeSet::from([digest])))
    }

    /// Two calls of a transform that go on until the senders are dropped.
    async fn hold(turns: &Arc<Turns>, slow: &BTreeSet<Digest>) -> Vec<mpsc::Sender<()>> {
        let (started, running) = mpsc::channel();
        let held = (0..2).map(|_| {
            let (end, ended) = mpsc::channel::<()>();
            let (turns, slow, started) = (Arc::clone(turns), slow.clone(), started.clone());
            tokio::spawn(async move {
                let work = move || {
                    started.send(()).unwrap();
                    ended.recv().unwrap_err();
                    Ok(())
                };
                turns.run(&slow, work).await
            });
            end
        });
        let held: Vec<_> = held.collect();
        apart(|| (0..2).for_each(|_| running.recv().unwrap()));
        held
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_slow_transform_leaves_turns_and_threads_to_others() {
        let (turns, [slow, quick]) = turns(1, Span(60_000_000));
        let held = hold(&turns, &slow).await;
        // The one thread of the runtime is free all the same, and so is a turn.
        for number in 0..100 {
            assert_eq!(turns.run(&quick, || Ok(number)).await, Ok(number));
        }
        // What is quick takes none.
        assert_eq!(turns.run_paced(&slow, &Pace::default(), Ok).await, Ok(Some(MOMENT)));
        let waiting = {
            let (turns, slow) = (Arc::clone(&turns), slow.clone());
            tokio::spawn(async move { turns.run(&slow, || Ok(7)).await })
        };
        while turns.shares[slow.first().unwrap()].waiting.load(Relaxed) == 0 {
            task::yield_now().await;
        }
        let error = turns.run(&slow, || Ok(())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        let expected = format!(
            "waiting calls of {} over the limit: limit 1, current 1, requested 2",
            slow.first().unwrap().short()
        );
        assert_eq!(error.message(), expected);
        drop(held);
        assert_eq!(waiting.await.unwrap(), Ok(7));
        assert_eq!(turns.run(&slow, || Ok(8)).await, Ok(8));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn nobody_waits_for_ever() {
        let (turns, [slow, _]) = turns(1, Span(1_000));
        let held = hold(&turns, &slow).await;
        let error = turns.run(&slow, || Ok(())).await.unwrap_err();
        let expected = format!(
            "calls of {} at a time over the limit for 1ms: limit 2, current 2, requested 3",
            slow.first().unwrap().short()
        );
        assert_eq!((error.kind(), error.message()), (Kind::Unavailable, expected.as_str()));
        drop(held);
    }

    #[tokio::test]
    async fn work_is_done_where_there_is_but_one_thread() {
        let (turns, [slow, _]) = turns(1, Span(1_000));
        assert_eq!(turns.run(&slow, || Ok(1)).await, Ok(1));
        assert_eq!(apart(|| 2), 2);
    }

    #[test]
    fn a_pace_is_quick_again_after_as_many_as_it_takes() {
        let check = |times: &[Duration], is_quick: bool| {
            let pace = Pace::default();
            times.iter().for_each(|time| pace.took(*time));
            assert_eq!(pace.is_quick(), is_quick, "{times:?}");
        };
        let (slow, stopped) = (QUICK * 2, Duration::from(MOMENT));
        check(&[], true);
        check(&[QUICK, QUICK], true);
        check(&[QUICK, slow], false);
        check(&[slow, slow, QUICK], true);
        check(&[stopped, QUICK], false);
        let mut times = vec![stopped];
        times.extend([QUICK; QUICK_IN_A_ROW as usize - 1]);
        check(&times, false);
        times.push(slow);
        check(&times, false);
        times.push(QUICK);
        check(&times, true);
        times.push(stopped);
        check(&times, false);
    }

    /// Says how long it may take, and takes as long as it was told to, or its moment.
    async fn run(turns: &Turns, pace: &Pace, time: Span) -> (Vec<Option<Span>>, Result<()>) {
        let given = std::sync::Mutex::new(Vec::new());
        let work = |moment: Option<Span>| {
            given.lock().unwrap().push(moment);
            std::thread::sleep(moment.map_or(time, |moment| moment.min(time)).into());
            match moment.is_some_and(|moment| moment < time) {
                true => Err(Error::transform("stopped")),
                false => Ok(()),
            }
        };
        let done = turns.run_paced(&[Digest::of(b"slow")].into(), pace, work).await;
        (given.into_inner().unwrap(), done)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_not_done_at_once_is_done_apart() {
        let (turns, _) = turns(1, Span(1_000));
        let pace = Pace::default();
        let long = Span(MOMENT.0 * 2);
        assert_eq!(run(&turns, &pace, long).await, (vec![Some(MOMENT), None], Ok(())));
        assert_eq!(run(&turns, &pace, long).await, (vec![None], Ok(())));
        (0..QUICK_IN_A_ROW).for_each(|_| pace.took(QUICK));
        assert_eq!(run(&turns, &pace, Span(0)).await.0, [Some(MOMENT)]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_fails_at_once_is_not_tried_again() {
        let (turns, [slow, _]) = turns(1, Span(1_000));
        let (pace, calls) = (Pace::default(), AtomicU32::new(0));
        let work = |_| -> Result<()> {
            calls.fetch_add(1, Relaxed);
            Err(Error::transform("no"))
        };
        turns.run_paced(&slow, &pace, work).await.unwrap_err();
        assert_eq!(calls.into_inner(), 1);
    }
}
