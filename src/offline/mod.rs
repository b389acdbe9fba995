//! The offline side: sources, point-in-time joins, transforms over batches, and Parquet files.
//!
//! DataFusion scans, partitions, sorts and spills. What is ours are the operators it has not, each
//! with its logical node: [`join_views`], [`latest`] and [`transform`]. No other module of the
//! crate imports DataFusion.

mod changes;
mod content_hash;
mod damage;
mod encoding;
mod entities;
mod errors;
mod explain;
mod feature_rows;
mod inputs;
mod latest;
mod manifest;
mod memory;
mod operator;
mod parquet_file;
mod partitioned;
mod period;
mod planner;
mod point_in_time;
mod record;
mod replay;
mod row_groups;
mod run;
mod selection;
mod session;
mod sources;
mod spill;
mod statistics;
mod stream;
#[cfg(test)]
mod testing;
mod training_set;
mod transform;
mod write;

pub use changes::count_changes;
pub use content_hash::ContentHasher;
pub use entities::{DEFAULT_TIME, EntityDataframe, EntityOrigin, EntityRequest};
pub use explain::Operator;
pub use feature_rows::{CREATED, EVENT, Layout, key_column};
pub use latest::{HASH, latest};
pub use manifest::{
    EntitiesRecord, MANIFEST_KEY, Manifest, ManifestColumn, RequestRecord, SourceFile, TableVersion,
};
pub use parquet_file::read_metadata;
pub use period::Period;
pub use point_in_time::{JoinSpec, ViewJoin, in_order, join_views};
pub use replay::{Change, InputChange, Rebuilt, changed_inputs, replay};
pub use run::{Function, Ran, Run, RunRequest};
pub use selection::{Sample, Selection};
pub use session::{Resources, session};
pub use sources::{Columns, DeltaVersion, InputFile, Places, RowGroup, SourceInputs, Sources};
pub use statistics::{Bin, ColumnStatistics, Quantile, Spread};
pub use stream::{LatestRows, Progress, Scanned, latest_rows};
pub use training_set::{RowErrors, TrainingRequest, TrainingSetWritten, write_training_set};
pub use transform::{BatchFunction, transform};
pub use write::{Content, write_parquet};

/// The column with the number of an entity row: its place in the entity dataframe, from 0.
pub const ROW_NUMBER: &str = "__row";
