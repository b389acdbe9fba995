//! The functions of a transform, as the platform sees them.

use crate::abi::{Batch, Column, Failure, Function, Outcome};
use alloc::format;
use alloc::vec::Vec;

/// A function of a transform. [`transform`](macro@crate::transform) implements it for a type that
/// bears the function's name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function of a transform",
    label = "has no `#[transform]`"
)]
pub trait TransformFunction {
    /// The function's signature and documentation.
    fn describe() -> Function;

    /// Runs the function over a batch.
    ///
    /// # Errors
    /// Where the arguments are not of the function's signature.
    fn apply(params: &[Column], batch: Batch) -> Result<Outcome, Failure>;
}

/// A [`TransformFunction`] in the table of a [`Transform`].
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    describe: fn() -> Function,
    apply: fn(&[Column], Batch) -> Result<Outcome, Failure>,
}

impl Entry {
    /// The entry of a function.
    pub const fn of<F: TransformFunction>() -> Self {
        Self { describe: F::describe, apply: F::apply }
    }
}

/// What a component exports: the functions listed in [`export!`](crate::export), in that order.
#[derive(Debug, Clone, Copy)]
pub struct Transform {
    functions: &'static [Entry],
}

impl Transform {
    /// A transform of these functions.
    pub const fn new(functions: &'static [Entry]) -> Self {
        Self { functions }
    }

    /// The functions' signatures and documentation.
    pub fn describe(&self) -> Vec<Function> {
        self.functions.iter().map(|entry| (entry.describe)()).collect()
    }

    /// Runs the function at this place in [`describe`](Self::describe) over a batch.
    ///
    /// # Errors
    /// Where there is no such function, or the arguments are not of its signature.
    pub fn apply(
        &self,
        function: u32,
        params: &[Column],
        batch: Batch,
    ) -> Result<Outcome, Failure> {
        let Some(entry) = self.functions.get(function as usize) else {
            let count = self.functions.len();
            let message = format!(
                "there is no function {function}; the transform has {count}, counted from 0"
            );
            return Err(Failure { message });
        };
        (entry.apply)(params, batch)
    }
}
