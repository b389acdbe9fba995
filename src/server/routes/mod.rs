//! The routes: one function each, which reads, does and answers.

pub(super) mod features;
pub(super) mod materialize;
pub(super) mod watch;
pub(super) mod write;
