//! Which servers there are: one asks for all who want to know.

use std::time::Instant;

use futures::stream::{self, StreamExt as _};
use tokio::sync::Mutex;

use super::{breaker::Breaker, options::RedisOptions, server::Silence};

/// How many are asked at once: one that does not answer is waited for as long as a timeout.
const AT_ONCE: usize = 3;

/// What came of asking which servers there are.
#[derive(Debug)]
pub(super) struct Discovery {
    /// When that was asked the last time, and whether it is known since. Held by the one who asks.
    last: Mutex<Option<(Instant, Result<(), Silence>)>>,
    breaker: Breaker,
    born: Instant,
}

impl Discovery {
    pub(super) fn new(options: &RedisOptions) -> Self {
        Self {
            last: Mutex::default(),
            breaker: Breaker::new(options.breaker_failures, options.breaker_pause),
            born: Instant::now(),
        }
    }

    /// Asks, unless that was done since `noticed`, or has failed too often.
    ///
    /// # Errors
    /// Those of `ask`, whoever asked.
    pub(super) async fn since(
        &self,
        noticed: Instant,
        ask: impl Future<Output = Result<(), Silence>>,
    ) -> Result<(), Silence> {
        let mut last = self.last.lock().await;
        if let Some((at, known)) = &*last
            && *at >= noticed
        {
            return known.clone();
        }
        if !self.breaker.allows(self.born.elapsed()) {
            return Err(Silence::Resting);
        }
        let known = ask.await;
        match &known {
            Ok(()) => self.breaker.succeeded(),
            Err(_) => self.breaker.failed(self.born.elapsed()),
        }
        *last = Some((Instant::now(), known.clone()));
        known
    }
}

/// The first answer among these.
///
/// # Errors
/// The last silence, where nobody answers.
pub(super) async fn first<T>(
    asked: Vec<impl Future<Output = Result<T, Silence>>>,
) -> Result<T, Silence> {
    let mut answers = stream::iter(asked).buffer_unordered(AT_ONCE);
    let mut silence = Silence::Lost("there is nobody to ask".to_owned());
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => return Ok(answer),
            Err(why) => silence = why,
        }
    }
    Err(silence)
}
