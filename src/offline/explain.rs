//! What the operators of a plan did, once it has run.

use std::{collections::BTreeMap, fmt};

use datafusion::physical_plan::{ExecutionPlan, displayable, metrics::MetricValue};
use serde::Serialize;

/// What an operator of a plan did, and the operators that it read from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operator {
    /// The operator: `PointInTimeJoinExec`.
    pub name: String,
    /// What it was to do.
    pub details: String,
    /// How many rows came out of it; `None` where it does not count them.
    pub rows: Option<u64>,
    /// How long it computed, in seconds, on all cores together.
    pub seconds: f64,
    /// The most memory that it held at a time, in bytes; `None` where it holds none.
    pub memory_bytes: Option<u64>,
    /// How many files it wrote to the spill folder.
    pub spilled_files: u64,
    /// How many bytes it wrote there.
    pub spilled_bytes: u64,
    /// How many rows it wrote there.
    pub spilled_rows: u64,
    /// What else it counts, by the names that it gives; times in nanoseconds.
    pub metrics: BTreeMap<String, u64>,
    /// The operators that it read from.
    pub inputs: Vec<Operator>,
}

impl Operator {
    /// The operator at the top of a plan.
    pub(super) fn of(plan: &dyn ExecutionPlan) -> Self {
        let line = displayable(plan).one_line().to_string();
        let line = line.trim_end();
        let (name, details) = line.split_once(": ").unwrap_or((line, ""));
        let mut operator = Self {
            name: name.to_owned(),
            details: details.to_owned(),
            rows: None,
            seconds: 0.0,
            memory_bytes: None,
            spilled_files: 0,
            spilled_bytes: 0,
            spilled_rows: 0,
            metrics: BTreeMap::new(),
            inputs: plan.children().into_iter().map(|input| Self::of(input.as_ref())).collect(),
        };
        let metrics = plan.metrics().map(|metrics| metrics.aggregate_by_name());
        for metric in metrics.iter().flat_map(|metrics| metrics.iter()) {
            operator.add(metric.value());
        }
        operator
    }

    fn add(&mut self, value: &MetricValue) {
        let count = value.as_usize() as u64;
        match value {
            MetricValue::OutputRows(_) => self.rows = Some(count),
            MetricValue::ElapsedCompute(_) => self.seconds += count as f64 / 1e9,
            MetricValue::SpillCount(_) => self.spilled_files = count,
            MetricValue::SpilledBytes(_) => self.spilled_bytes = count,
            MetricValue::SpilledRows(_) => self.spilled_rows = count,
            MetricValue::StartTimestamp(_) | MetricValue::EndTimestamp(_) => {}
            other if other.name() == SCANNING => self.seconds += count as f64 / 1e9,
            other if other.name() == MEMORY => self.memory_bytes = Some(count),
            other if count > 0 => {
                self.metrics.insert(other.name().to_owned(), count);
            }
            _ => {}
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        write!(f, "{indent}{}", self.name)?;
        if let Some(rows) = self.rows {
            write!(f, "  rows={rows}")?;
        }
        write!(f, "  time={:.3}s", self.seconds)?;
        if let Some(bytes) = self.memory_bytes {
            write!(f, "  memory={}", megabytes(bytes))?;
        }
        if self.spilled_files > 0 {
            let (bytes, rows) = (megabytes(self.spilled_bytes), self.spilled_rows);
            write!(f, "  spilled={bytes} ({rows} rows in {} files)", self.spilled_files)?;
        }
        for (name, count) in self.metrics.iter().filter(|(name, _)| SHOWN.contains(&name.as_str()))
        {
            write!(f, "  {name}={count}")?;
        }
        if !self.details.is_empty() {
            write!(f, "\n{indent}  | {}", self.details)?;
        }
        for input in &self.inputs {
            writeln!(f)?;
            input.write(f, depth + 1)?;
        }
        Ok(())
    }
}

/// The name of the measure of memory.
pub(super) const MEMORY: &str = "peak_mem_used";

/// What is shown to people of what else operators count.
const SHOWN: [&str; 5] = [
    "bytes_scanned",
    "matched_rows",
    "page_index_rows_pruned",
    "parts",
    "row_groups_pruned_statistics",
];

/// What a scan calls the time that it computes.
const SCANNING: &str = "time_elapsed_processing";

fn megabytes(bytes: u64) -> String {
    format!("{:.1}MB", bytes as f64 / 1e6)
}

/// For people: an operator a line, those that it read from below it, farther in; what it was to do
/// behind `|`.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}
