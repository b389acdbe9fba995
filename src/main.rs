//! The `unskew` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    unskew::cli::run()
}
