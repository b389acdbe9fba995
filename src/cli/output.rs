//! What commands print: results to stdout, talk to stderr, progress only on a terminal.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    error::{Error, Result},
    offline::Progress,
};

/// Where output goes, and in which form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// Whether results are JSON.
    pub json: bool,
}

impl Output {
    /// Prints the result of what was done: `text` for people, `data` for programs. Whoever reads may
    /// stop reading: that is no error of ours.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] when it cannot be written, saying that it was done.
    pub(super) fn result(self, text: impl Display, data: &impl Serialize) -> Result<()> {
        let text = match self.json {
            true => serde_json::to_string_pretty(data).map_err(formless)?,
            false => text.to_string(),
        };
        print(&text)
    }

    /// As [`Output::result`], one of many results: `data` is in one line.
    ///
    /// # Errors
    /// Those of [`Output::result`].
    pub(super) fn event(self, text: impl Display, data: &impl Serialize) -> Result<()> {
        let text = match self.json {
            true => serde_json::to_string(data).map_err(formless)?,
            false => text.to_string(),
        };
        print(&text)
    }

    /// Prints an error, for people or for programs, to stderr.
    pub(super) fn error(self, error: &Error) {
        if self.json {
            let data = serde_json::json!({"error": {
                "kind": format!("{:?}", error.kind()), "message": error.message(), "hint": error.hint(),
            }});
            eprintln!("{data}");
        } else {
            eprintln!("error: {error}");
        }
    }

    /// A count of rows on the way, where stderr is a terminal.
    pub(super) fn rows(self, what: &str) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg}: {human_pos} rows, {per_sec}, {elapsed}")
        {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

impl Output {
    /// Rows out of as many, at what rate and for how long still, where stderr is a terminal.
    pub(super) fn bar(self, what: &str) -> ProgressBar {
        let bar = self.rows(what);
        if let Ok(style) = ProgressStyle::with_template(
            "{spinner} {msg}: {human_pos} of {human_len} rows, {per_sec}, {eta} left, {prefix}",
        ) {
            bar.set_style(style);
        }
        bar
    }
}

fn formless(error: serde_json::Error) -> Error {
    Error::internal(format!("a result has no JSON form: {error}"))
}

fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::unavailable(format!("done, but the result cannot be printed: {error}")))
        }
        _ => Ok(()),
    }
}

/// Rows that are added to a bar; where it is known how many there will be, it shows how long still.
pub(super) fn expecting(bar: &ProgressBar, rows: Option<u64>) -> Progress {
    let style = ProgressStyle::with_template(
        "{spinner} {msg}: {human_pos} of {human_len} rows, {per_sec}, {eta} left",
    );
    if let (Some(rows), Ok(style)) = (rows, style) {
        bar.set_length(rows);
        bar.set_style(style);
    }
    progress(bar)
}

/// Rows that are added to a bar.
pub(super) fn progress(bar: &ProgressBar) -> Progress {
    let bar = bar.clone();
    Arc::new(move |rows| bar.inc(rows))
}
