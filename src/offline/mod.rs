//! The offline side: sources, point-in-time joins, transforms over batches, and Parquet files.
//!
//! DataFusion scans, partitions, sorts and spills. What is ours are the operators it has not, each
//! with its logical node: [`point_in_time`], [`latest`] and [`transform`]. No other module of the
//! crate imports DataFusion.

mod errors;
mod feature_rows;
mod planner;
mod point_in_time;
mod session;

pub use feature_rows::Layout;
pub use point_in_time::{JoinSpec, ViewJoin, in_order, join_views};
pub use session::{Resources, session};

/// The column with the number of an entity row: its place in the entity dataframe, from 0.
pub const ROW_NUMBER: &str = "__row";
