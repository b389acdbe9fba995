//! The tests of the whole: the command line on real files, the server on a real socket.
//!
//! One binary, so that the crate is linked once.

/// As the program has it: a soak measures the memory of this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod bombs;
mod bucket;
mod build;
mod commands;
mod crash;
mod endurance;
mod entities;
mod feast;
mod folders;
mod freshness;
mod hostile;
mod http;
mod materialize;
mod native;
mod offline;
mod parity;
mod publish;
mod race;
mod redis;
mod replay;
mod s3;
mod shop;
mod soak;
mod sources;
mod story;
mod support;
mod traffic;
mod wrong_data;
mod wrong_input;
