//! A feature platform without training-serving skew.
//!
//! Feature logic is compiled once into a WebAssembly component, named by the SHA-256 of its bytes,
//! and run by one sandboxed runtime wherever a value is computed: training datasets, backfills,
//! online answers. The same inputs give the same bits on every path, and for every value it can be
//! said which code, which definitions, which runtime and which inputs made it.
//!
//! # The way of a value
//! ```text
//!  published component ─┐
//!  definitions (TOML) ──┴─► registry ─► snapshot ─► evaluate::InForce
//!                                                      │
//!  Parquet ─► offline: scan ─► point-in-time join ─► evaluate ─► training dataset + manifest
//!                         └──► latest per entity ──► evaluate ─► materialize ─► online store
//!  HTTP ─► server ─► serve: online store ─► evaluate ─► answer + fingerprints
//!                                    manifest + fingerprints ─► audit
//! ```
//! [`definition::retrieval`] plans a request once for training and serving; [`evaluate`] is the
//! only door to a guest.
//!
//! # What there is not
//! The architecture is what is absent; `tests/architecture.rs` holds each of these:
//!
//! - Imports run one way, from [`cli`] down to [`error`]: [`app`], [`config`], [`server`], then
//!   [`audit`], [`catalog`] and [`diff`], then [`materialize`] and [`serve`], then [`offline`], then
//!   [`evaluate`] and [`publish`], then [`wasm`], [`online`] and [`registry`], then [`storage`], then [`definition`], then the
//!   vocabulary ([`value`], [`metrics`], [`time`], [`name`], [`digest`], [`error`]). No module imports a peer.
//! - Nothing but [`wasm`] knows Wasmtime; nothing but [`offline`] knows DataFusion; nothing but
//!   [`online`] knows LMDB; nothing but [`server`] knows HTTP; nothing but [`cli`] prints.
//! - [`definition`] and [`catalog`] do no I/O: files, schemas and transforms are handed in.
//! - [`online::OnlineStore`] knows no definitions: keys, versions and bytes.
//! - No path has a second way to compute: a training row and an online row differ only in where
//!   their source row was found.

pub mod app;
pub mod audit;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod definition;
pub mod diff;
pub mod digest;
pub mod error;
pub mod evaluate;
pub mod freshness;
pub mod materialize;
pub mod metrics;
pub mod name;
pub mod offline;
pub mod online;
pub mod publish;
pub mod registry;
pub mod serve;
pub mod server;
pub mod storage;
pub mod time;
pub mod value;
pub mod wasm;
