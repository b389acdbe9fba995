//! What an offline command may use.

use std::path::PathBuf;

use clap::{Args, builder::RangedU64ValueParser};

use crate::{
    error::{Error, Result},
    offline::Resources,
};

/// What an offline command may use; no choice changes a value.
#[derive(Debug, Args)]
pub(super) struct ResourceArguments {
    /// How many partitions to work on at once; one for each core, where it is not given.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,
    /// How many rows a batch has.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_048_576))]
    batch_rows: Option<usize>,
    /// How much memory sorts and joins may take before they spill to disk: 512MB, 4GB.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory_limit: Option<usize>,
    /// The folder to spill to; the system's folder for temporary files, where it is not given.
    #[arg(long, value_name = "DIR")]
    spill: Option<PathBuf>,
    /// How much may be spilled at a time; 100GB, where it is not given.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    spill_limit: Option<usize>,
}

impl ResourceArguments {
    /// What a process does before it starts threads, to keep within these resources.
    pub(super) fn prepare(&self) {
        if self.memory_limit.is_some() {
            return_free_memory_soon();
        }
    }

    pub(super) fn resources(&self) -> Resources {
        let usual = Resources::default();
        Resources {
            partitions: self.threads.unwrap_or(usual.partitions),
            batch_size: self.batch_rows.unwrap_or(usual.batch_size),
            memory: self.memory_limit.or(usual.memory),
            spill: self.spill.clone().or(usual.spill),
            spill_limit: self.spill_limit.map_or(usual.spill_limit, |bytes| bytes as u64),
        }
    }
}

/// Gives free memory back to the system soon, and not a second later: until then, it counts as much as
/// what is in use. Not at once, either: much of it is wanted again.
fn return_free_memory_soon() {
    // SAFETY: it sets a number that the allocator reads, while there is no other thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 10) }
}

/// `mi_option_purge_delay`, in milliseconds. The crate gives no name to it; a test says that it is
/// the one that is meant.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// A size in bytes: a count with KB, MB or GB (powers of ten), or without (bytes).
pub(super) fn bytes(text: &str) -> Result<usize> {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("", 1)];
    let parsed = units.iter().find_map(|(unit, size)| {
        let count: usize = text.strip_suffix(unit)?.trim().parse().ok()?;
        count.checked_mul(*size)
    });
    parsed.filter(|bytes| *bytes > 0).ok_or_else(|| {
        Error::invalid(format!("not a size: {text:?}")).with_hint("a size is 512MB or 4GB")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_with_that_name() {
        const NAMED: &str = "MIMALLOC_PURGE_DELAY";
        const CHILD: &str = "UNSKEW_TEST_PURGE_DELAY";
        // SAFETY: it reads a number.
        let value = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        if std::env::var_os(CHILD).is_some() {
            assert_eq!(value, 7);
            return;
        }
        // The allocator reads its environment once: so another process has to look.
        let test = std::env::current_exe().unwrap();
        let mut again = std::process::Command::new(test);
        again.args(["--exact", "cli::resources::tests::the_option_is_the_one_with_that_name"]);
        let output = again.env(NAMED, "7").env(CHILD, "").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn sizes() {
        for (text, expect) in [
            ("4GB", Some(4_000_000_000)),
            ("512 MB", Some(512_000_000)),
            ("7", Some(7)),
            ("0", None),
            ("", None),
            ("4XB", None),
            ("99999999999999GB", None),
        ] {
            assert_eq!(bytes(text).ok(), expect, "{text:?}");
        }
    }
}
