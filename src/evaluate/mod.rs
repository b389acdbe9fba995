//! (function, batch) → columns: the one door to a guest.
//!
//! Every path of a value goes through here: training datasets, materialization, serving, audits.
//! What a function gives for a row depends on that row and the params alone, so how rows are cut
//! into calls changes no value.

mod binding;
mod evaluation;
mod in_force;
mod library;
mod on_demand;
mod stored;
#[cfg(test)]
pub(crate) mod testing;
mod turns;
mod working;

pub use binding::Binding;
pub use evaluation::{Evaluated, Evaluation};
pub use in_force::InForce;
pub use library::Library;
pub use on_demand::{Computed, OnDemand};
pub use stored::StoredFeatures;
pub use turns::{Pace, Turns, apart};
pub use working::Working;
