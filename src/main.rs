//! The `unskew` command.

use std::process::ExitCode;

/// A request makes and drops some hundred small things: answers come a third more often than with
/// the allocator of the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    unskew::cli::run()
}
