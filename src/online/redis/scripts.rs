//! What Redis decides itself, beside the data.
//!
//! Redis keeps scripts by their hash, so that two versions of unskew which decide otherwise do not
//! meet in one name, as they would in a library of functions.

use std::sync::LazyLock;

/// A script, and the hash by which Redis knows it.
pub(super) struct Script {
    pub(super) text: &'static str,
    hash: LazyLock<String>,
}

/// Decides which of the rows of a batch stay.
pub(super) static NEWEST_WINS: Script = Script {
    text: include_str!("newest_wins.lua"),
    hash: LazyLock::new(|| hash(NEWEST_WINS.text)),
};

/// Deletes a row unless a definition made it.
pub(super) static DELETE_OUTDATED: Script = Script {
    text: include_str!("delete_outdated.lua"),
    hash: LazyLock::new(|| hash(DELETE_OUTDATED.text)),
};

/// Every script: a server that lacks one is given all.
pub(super) static ALL: [&Script; 2] = [&NEWEST_WINS, &DELETE_OUTDATED];

impl Script {
    /// What `EVALSHA` takes.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }
}

fn hash(text: &str) -> String {
    redis::Script::new(text).get_hash().to_owned()
}
