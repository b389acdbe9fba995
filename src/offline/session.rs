//! The DataFusion session: one set of settings, none of which can change a result.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, thread};

use datafusion::{
    execution::{
        SessionStateBuilder,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::RuntimeEnvBuilder,
    },
    prelude::{SessionConfig, SessionContext},
};

use super::{errors::from_datafusion, planner::Planner};
use crate::error::Result;

/// What a session may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// How many partitions are worked on at once.
    pub partitions: usize,
    /// How many rows a batch has.
    pub batch_size: usize,
    /// How many bytes sorts and joins may keep in memory before sorts go to disk and all else
    /// fails; without it, as many as there are.
    pub memory: Option<usize>,
    /// The folder in which sorts spill; without it, that of the system for temporary files.
    pub spill: Option<PathBuf>,
}

impl Default for Resources {
    /// One partition per core, batches of 8192 rows, all memory.
    fn default() -> Self {
        Self {
            partitions: thread::available_parallelism().map_or(1, NonZeroUsize::get),
            batch_size: 8192,
            memory: None,
            spill: None,
        }
    }
}

/// A session in which [`super::point_in_time`] joins, [`super::latest`] rows and
/// [`super::transform`]s can be planned.
///
/// # Errors
/// [`crate::error::Kind::Unavailable`] when the folder for spilling cannot be used.
pub fn session(resources: &Resources) -> Result<SessionContext> {
    let config = SessionConfig::new()
        .with_target_partitions(resources.partitions.max(1))
        .with_batch_size(resources.batch_size.max(1))
        .set_str("datafusion.execution.time_zone", "UTC")
        // Identifiers in SQL are columns as the files spell them.
        .set_bool("datafusion.sql_parser.enable_ident_normalization", false)
        // Text is plain text from the start: every column is conformed to that anyway.
        .set_bool("datafusion.execution.parquet.schema_force_view_types", false);
    let mut runtime = RuntimeEnvBuilder::new();
    if let Some(bytes) = resources.memory {
        runtime = runtime.with_memory_pool(Arc::new(FairSpillPool::new(bytes)));
    }
    if let Some(folder) = &resources.spill {
        let mode = DiskManagerMode::Directories(vec![folder.clone()]);
        runtime = runtime.with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode));
    }
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime.build_arc().map_err(from_datafusion)?)
        .with_default_features()
        .with_query_planner(Arc::new(Planner))
        .build();
    Ok(SessionContext::new_with_state(state))
}
