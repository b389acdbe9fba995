//! Cohorts: requests that are ready go through a stage together.
//!
//! An answer runs through much code, and at its end the caches of the processor hold what was needed
//! last. Requests that ran from beginning to end, one after the other, would each find there nothing
//! of what they need first. So at the border of a stage a request lets those go first that are ready
//! as well, up to the same border: the code and data of a stage then stay in the caches from one
//! request to the next. With sixteen connections, that was a sixth more answers for one entity, and a
//! quarter more with an on-demand transform. The idea is from J. Larus and M. Parkes, "Using Cohort
//! Scheduling to Enhance Server Performance", USENIX 2002.
//!
//! Where nobody else is ready, to let others go first is work in vain. So each thread takes note of
//! that, and tries more seldom while it goes on.

use std::{
    cell::Cell,
    future::poll_fn,
    task::{Context, Poll},
};

/// The most entity rows of a request that lets others go first: what a larger one holds meanwhile
/// would drive from the caches what the others need.
const MOST_ROWS: usize = 16;

/// The most borders that are passed at once after others were let go first in vain.
const MOST_PASSED: u32 = 63;

thread_local! {
    static COHORT: Cohort = const { Cohort::new() };
}

/// At the border of a stage, lets the requests that are ready go first, up to the next border that
/// they come to; a request of many entity rows goes on at once.
pub async fn regroup(rows: usize) {
    if rows > MOST_ROWS {
        return;
    }
    let Some(arrived) = COHORT.with(Cohort::arrive) else { return };
    go_behind().await;
    COHORT.with(|cohort| cohort.go_on(arrived));
}

/// Ready again at once, behind all who are ready. Unlike Tokio's `yield_now`, it does not have new
/// events looked for first, which takes a call of the kernel.
async fn go_behind() {
    let mut is_behind = false;
    let go = |context: &mut Context<'_>| match is_behind {
        true => Poll::Ready(()),
        false => {
            is_behind = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    };
    poll_fn(go).await;
}

/// What a thread has seen of those who came to a border.
struct Cohort {
    /// How many did.
    arrived: Cell<u32>,
    /// How many of the next ones go on at once.
    to_pass: Cell<u32>,
    /// How many did so after the last that let others go first in vain.
    passed: Cell<u32>,
}

impl Cohort {
    const fn new() -> Self {
        Self { arrived: Cell::new(0), to_pass: Cell::new(0), passed: Cell::new(0) }
    }

    /// Comes to a border. Gives how many have done so, or `None` for who goes on at once.
    fn arrive(&self) -> Option<u32> {
        let arrived = self.arrived.get().wrapping_add(1);
        self.arrived.set(arrived);
        match self.to_pass.get() {
            0 => Some(arrived),
            left => {
                self.to_pass.set(left - 1);
                None
            }
        }
    }

    /// Goes on behind the others, if any came to a border since this one did. Whoever goes on on
    /// another thread was taken there because many were ready; the count there is another.
    fn go_on(&self, arrived: u32) {
        let passed = match self.arrived.get() == arrived {
            true => (self.passed.get() * 2 + 1).min(MOST_PASSED),
            false => 0,
        };
        self.passed.set(passed);
        self.to_pass.set(passed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{Arc, Mutex},
        task::Waker,
    };

    use super::*;

    /// In which order three requests of so many rows go through three stages.
    async fn order(rows: usize) -> Vec<(char, u32)> {
        let order = Arc::new(Mutex::new(Vec::new()));
        let requests = ['a', 'b', 'c'].map(|name| {
            let order = Arc::clone(&order);
            tokio::spawn(async move {
                for stage in 1..=3 {
                    order.lock().unwrap().push((name, stage));
                    regroup(rows).await;
                }
            })
        });
        for request in requests {
            request.await.unwrap();
        }
        Arc::into_inner(order).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn small_requests_go_through_a_stage_together() {
        let together = [1, 2, 3].map(|stage| ['a', 'b', 'c'].map(|name| (name, stage)));
        assert_eq!(order(MOST_ROWS).await, together.as_flattened());
        let apart = ['a', 'b', 'c'].map(|name| [1, 2, 3].map(|stage| (name, stage)));
        assert_eq!(order(MOST_ROWS + 1).await, apart.as_flattened());
    }

    /// Whether a request waits at a border; `meanwhile` is done while it does.
    fn waits(meanwhile: impl FnOnce()) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let mut request = pin!(regroup(1));
        if request.as_mut().poll(&mut context).is_ready() {
            return false;
        }
        meanwhile();
        assert!(request.as_mut().poll(&mut context).is_ready(), "it waits once");
        true
    }

    #[test]
    fn who_is_alone_lets_others_go_first_ever_more_seldom() {
        let passed = || (0..).take_while(|_| !waits(|| ())).count();
        let gaps: Vec<usize> = (0..9).map(|_| passed()).collect();
        assert_eq!(gaps, [0, 1, 3, 7, 15, 31, 63, 63, 63]);
        // Until somebody comes while it waits.
        assert_eq!((0..).take_while(|_| !waits(|| assert!(waits(|| ())))).count(), 63);
        assert!((0..9).all(|_| waits(|| assert_ne!(COHORT.with(Cohort::arrive), None))));
    }
}
