//! unskew.

pub mod app;
pub mod audit;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod definition;
pub mod digest;
pub mod error;
pub mod evaluate;
pub mod materialize;
pub mod name;
pub mod offline;
pub mod online;
pub mod registry;
pub mod serve;
pub mod server;
pub mod time;
pub mod value;
pub mod wasm;
