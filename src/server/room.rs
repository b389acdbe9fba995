//! Room for the bodies of all requests and answers together: however many there are at once, and
//! however slowly they are sent or read, the server holds no more than this of them.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Failure;
use crate::error::Error;

/// What room is counted in.
const UNIT: u64 = 1 << 10;

/// An answer that is no larger is not counted: with as many as there may be connections, they are
/// not much.
const SMALL: usize = 64 << 10;

/// The room that there is.
#[derive(Debug)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    units: u32,
}

/// Room that is taken until this is dropped; none at first.
#[derive(Debug, Default)]
pub(super) struct Held(Option<OwnedSemaphorePermit>);

impl Room {
    /// Room for so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Takes more room, until there is enough for so many bytes.
    ///
    /// # Errors
    /// 503, at once, where there is not enough left.
    pub(super) fn grow(&self, held: &mut Held, bytes: u64) -> Result<(), Failure> {
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let more = wanted.saturating_sub(held.units());
        if more == 0 {
            return Ok(());
        }
        let Ok(taken) = Arc::clone(&self.free).try_acquire_many_owned(more) else {
            let bytes = |units: u64| units * UNIT;
            let used = u64::from(self.units).saturating_sub(self.free.available_permits() as u64);
            let error = Error::limit(
                "bytes of memory for the bodies of all requests and answers",
                bytes(self.units.into()),
                bytes(used),
                bytes(used + u64::from(more)),
            );
            return Err(Failure::overloaded(&error));
        };
        match &mut held.0 {
            Some(permit) => permit.merge(taken),
            none => *none = Some(taken),
        }
        Ok(())
    }

    /// The body of an answer, which takes room until it was sent.
    ///
    /// # Errors
    /// As for [`Room::grow`].
    pub(super) fn keep(&self, body: Vec<u8>) -> Result<Bytes, Failure> {
        if body.len() <= SMALL {
            return Ok(body.into());
        }
        let mut held = Held::default();
        self.grow(&mut held, body.len() as u64)?;
        Ok(Bytes::from_owner(Kept(body, held)))
    }
}

/// A body, and the room that it takes.
struct Kept(Vec<u8>, #[expect(dead_code, reason = "it is dropped")] Held);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Held {
    fn units(&self) -> u32 {
        self.0.as_ref().map_or(0, |permit| permit.num_permits() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_there_again_when_its_holder_is_gone() {
        let room = Room::new(4 * UNIT + 1);
        let (mut one, mut other) = (Held::default(), Held::default());
        room.grow(&mut one, UNIT + 1).unwrap();
        room.grow(&mut one, 2 * UNIT).unwrap();
        room.grow(&mut other, UNIT).unwrap();
        let refused = room.grow(&mut other, 3 * UNIT).unwrap_err();
        let told = "bytes of memory for the bodies of all requests and answers over the limit: \
            limit 4096, current 3072, requested 5120";
        assert_eq!(refused.told(), (503, told, Some(1)));
        drop(one);
        room.grow(&mut other, 4 * UNIT).unwrap();
    }

    #[test]
    fn an_answer_has_room_until_it_is_sent() {
        let room = Room::new(100 << 10);
        let large = || vec![0; SMALL + 1];
        let first = room.keep(large()).unwrap();
        assert_eq!(room.keep(large()).unwrap_err().told().0, 503);
        assert_eq!(room.keep(vec![0; SMALL]).unwrap().len(), SMALL);
        drop(first);
        room.keep(large()).unwrap();
    }
}
