//! The DataFusion session: one set of settings, none of which can change a result.

use std::{env, num::NonZeroUsize, path::PathBuf, sync::Arc, thread};

use datafusion::{
    execution::{
        SessionStateBuilder, disk_manager::DiskManagerBuilder, memory_pool::TrackConsumersPool,
        runtime_env::RuntimeEnvBuilder,
    },
    prelude::{SessionConfig, SessionContext},
};

use super::{
    errors::from_datafusion,
    memory::SharedMemory,
    planner::Planner,
    spill::{SpillFiles, SpillFolder},
};
use crate::error::Result;

/// What a session may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// How many partitions are worked on at once.
    pub partitions: usize,
    /// How many rows a batch has.
    pub batch_size: usize,
    /// How many bytes sorts and joins may keep in memory before they go to the disk; without it, as
    /// many as there are.
    pub memory: Option<usize>,
    /// The folder to spill to; without it, that of the system for temporary files.
    pub spill: Option<PathBuf>,
    /// How many bytes may be spilled at a time.
    pub spill_limit: u64,
}

impl Default for Resources {
    /// One partition per core, batches of 8192 rows, all memory, 100 GB of disk.
    fn default() -> Self {
        Self {
            partitions: thread::available_parallelism().map_or(1, NonZeroUsize::get),
            batch_size: 8192,
            memory: None,
            spill: None,
            spill_limit: 100_000_000_000,
        }
    }
}

/// How many sorts of one partition have to fit into the memory limit with what each of them sets
/// aside for merging: those of the queries of all views of a training dataset.
const SORTS_AT_ONCE: usize = 32;

/// How many spilled files a sort merges at once. Left alone, a merge takes all memory there is, and
/// whatever runs beside it fails.
const MERGED_AT_ONCE: usize = 8;

/// A session in which [`super::join_views`] joins, [`super::latest`] rows and
/// [`super::transform`]s can be planned.
///
/// # Errors
/// [`crate::error::Kind::Unavailable`] when the folder for spilling cannot be used.
pub fn session(resources: &Resources) -> Result<SessionContext> {
    let mut config = SessionConfig::new()
        .with_target_partitions(resources.partitions.max(1))
        .with_batch_size(resources.batch_size.max(1))
        .set_str("datafusion.execution.time_zone", "UTC")
        // Identifiers in SQL are columns as the files spell them.
        .set_bool("datafusion.sql_parser.enable_ident_normalization", false)
        // As footers are read ([`crate::value::int96_as_timestamp`]).
        .set_str("datafusion.execution.parquet.coerce_int96", "us")
        .set_str("datafusion.execution.parquet.coerce_int96_tz", "UTC")
        // Text is plain text from the start: every column is conformed to that anyway.
        .set_bool("datafusion.execution.parquet.schema_force_view_types", false);
    let mut runtime = RuntimeEnvBuilder::new();
    if let Some(bytes) = resources.memory {
        let memory = SharedMemory::new(bytes, resources.partitions);
        let top = NonZeroUsize::MIN.saturating_add(4);
        runtime = runtime.with_memory_pool(Arc::new(TrackConsumersPool::new(memory, top)));
        let sorts = resources.partitions.max(1) * SORTS_AT_ONCE;
        let usual = config.options().execution.sort_spill_reservation_bytes;
        config = config.with_sort_spill_reservation_bytes(usual.min(bytes / sorts));
    }
    let folder = resources.spill.clone().unwrap_or_else(env::temp_dir);
    let files = SpillFiles(SpillFolder::open(&folder, resources.spill_limit)?);
    let disk = DiskManagerBuilder::default()
        .with_temp_file_factory(Arc::new(files))
        .with_max_spill_merge_fan_in(MERGED_AT_ONCE);
    let runtime = runtime.with_disk_manager_builder(disk);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime.build_arc().map_err(from_datafusion)?)
        .with_default_features()
        .with_query_planner(Arc::new(Planner))
        .build();
    Ok(SessionContext::new_with_state(state))
}
