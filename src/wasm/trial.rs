//! Calls as no path of a value makes them, for the publish check alone.
//!
//! On every path a call has a fresh instance and only the canonical NaN, so a guest that remembers
//! earlier calls, or tells NaNs apart, does no harm there. It is refused all the same: what it
//! computes would hang on that arrangement. To find such guests, the check calls one instance
//! again and again, and hands over NaNs as they are.

use arrow::array::ArrayRef;

use super::{
    Nan, Outcome, Transform, description::describe, sandbox::Opened, transform::Place, trap::Stop,
};
use crate::{error::Result, value::Function};

/// An instance that stays from call to call.
pub struct Trial<'a> {
    transform: &'a Transform,
    opened: Opened<'a>,
    nan: Nan,
}

impl Transform {
    /// Opens an instance for the publish check. It takes one of the
    /// [`Limits::concurrent_calls`](super::Limits::concurrent_calls) until it is dropped.
    ///
    /// # Errors
    /// [`Kind::Transform`](crate::error::Kind::Transform) when the guest fails at its start.
    pub fn trial(&self, nan: Nan) -> Result<Trial<'_>> {
        Ok(Trial { transform: self, opened: self.sandbox.open(self.limits())?, nan })
    }
}

impl Trial<'_> {
    /// As [`Transform::call`], in this instance. After a call that was [stopped](Self::stopped),
    /// all others fail.
    ///
    /// # Errors
    /// Those of [`Transform::call`].
    pub fn call(
        &mut self,
        function: usize,
        params: &[ArrayRef],
        inputs: &[ArrayRef],
        rows: usize,
    ) -> Result<Outcome> {
        let opened = Some(&mut self.opened);
        let (transform, limits) = (self.transform, self.transform.limits());
        Place { transform, limits, opened, nan: self.nan }.call(function, params, inputs, rows)
    }

    /// What the guest says of its functions now.
    ///
    /// # Errors
    /// [`Kind::Transform`](crate::error::Kind::Transform) when it does not answer, or otherwise
    /// than a guest may.
    pub fn describe(&mut self) -> Result<Vec<Function>> {
        describe(&mut self.opened, self.transform.limits())
    }

    /// How the last call was stopped before it was answered, where it was. A call that failed
    /// without that was answered, and the answer was none.
    pub fn stopped(&self) -> Option<Stop> {
        self.opened.stopped()
    }
}
