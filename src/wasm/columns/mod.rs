//! Columns across the boundary: Arrow in and out of the sandbox.
//!
//! In, they are borrowed: [`lower`] hands Wasmtime the very slices of the Arrow buffers. Out,
//! they are moved: [`lift`] checks what the guest returned and makes its buffers those of the
//! Arrow array.

mod lift;
mod lower;

pub(super) use lift::{Answer, lift};
pub(super) use lower::{Lowered, lower, settle};
