//! How old the rows are that the online store serves, and who is told when they are too old.
//!
//! A view says how old its rows may be (`freshness = { max_age = "24h" }`). [`Monitor::measure`]
//! looks at some of its rows and at how far it is materialized; [`watch`] does so again and again,
//! makes gauges of it, and tells webhooks when an incident starts and when it is over. Nothing here
//! writes a row: a monitor can run anywhere, and several of them may.

mod incident;
mod measure;
mod settings;
mod watch;
mod webhook;

pub use incident::{End, Incident, Notice, Told};
pub use measure::{Measured, Monitor, State};
pub use settings::{Settings, Shape, Webhook};
pub use watch::{Round, watch};
