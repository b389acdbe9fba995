//! The offline side: sources, point-in-time joins, transforms over batches, and Parquet files.
//!
//! DataFusion scans, partitions, sorts and spills. What is ours are the operators it has not, each
//! with its logical node: [`point_in_time`], [`latest`] and [`transform`]. No other module of the
//! crate imports DataFusion.

mod content_hash;
mod entities;
mod errors;
mod feature_rows;
mod latest;
mod operator;
mod parquet_file;
mod period;
mod planner;
mod point_in_time;
mod session;
mod sources;
#[cfg(test)]
mod testing;
mod transform;
mod write;

pub use content_hash::ContentHasher;
pub use entities::{DEFAULT_TIME, EntityDataframe};
pub use feature_rows::{CREATED, EVENT, Layout, key_column};
pub use latest::{HASH, latest};
pub use parquet_file::read_metadata;
pub use period::Period;
pub use point_in_time::{JoinSpec, ViewJoin, in_order, join_views};
pub use session::{Resources, session};
pub use sources::{Columns, Sources};
pub use transform::{BatchFunction, transform};
pub use write::{Content, write_parquet};

/// The column with the number of an entity row: its place in the entity dataframe, from 0.
pub const ROW_NUMBER: &str = "__row";
