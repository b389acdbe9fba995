//! The `unskew` command.

use std::process::ExitCode;

/// Many threads allocate columns at once, and what one made another frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    unskew::cli::run()
}
