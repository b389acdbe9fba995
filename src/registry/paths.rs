//! Where everything is: the only place that knows the layout.
//!
//! ```text
//! components/sha256/<hex>.wasm             a component; never replaced
//! components/sha256/<hex>.json             its publish report
//! cases/sha256/<hex>.json                 golden cases; never replaced
//! transforms/<team>/<name>/<version>.json  which component a name stands for; created once
//! snapshots/<number, 20 digits>.json       everything in force; the next number is created once
//! ledgers/<store>/<view>/<number>.json     what a view was materialized from; old ones go away
//! once                                     in a bucket: shows that the store creates objects once
//! ```

use object_store::path::Path;

use super::LedgerKey;
use crate::{digest::Digest, name::TransformName};

/// The folder of snapshots.
pub(super) fn snapshots() -> Path {
    Path::from("snapshots")
}

/// The folder of names.
pub(super) fn transforms() -> Path {
    Path::from("transforms")
}

/// The object that shows that its store does not replace objects.
pub(super) fn once() -> Path {
    Path::from("once")
}

pub(super) fn component(digest: &Digest) -> Path {
    Path::from(format!("components/sha256/{}.wasm", digest.hex()))
}

pub(super) fn report(digest: &Digest) -> Path {
    Path::from(format!("components/sha256/{}.json", digest.hex()))
}

pub(super) fn cases(digest: &Digest) -> Path {
    Path::from(format!("cases/sha256/{}.json", digest.hex()))
}

pub(super) fn transform(name: &TransformName) -> Path {
    Path::from(format!("transforms/{}/{}/{}.json", name.team, name.name, name.version))
}

/// The name whose path this is; `None` for anything else that lies there.
pub(super) fn transform_name(path: &Path) -> Option<TransformName> {
    let rest = path.as_ref().strip_prefix("transforms/")?.strip_suffix(".json")?;
    let (name, version) = rest.rsplit_once('/')?;
    format!("{name}@{version}").parse().ok()
}

pub(super) fn snapshot(sequence: u64) -> Path {
    Path::from(format!("snapshots/{sequence:020}.json"))
}

/// The number of the snapshot whose path this is; `None` for anything else that lies there.
pub(super) fn sequence(path: &Path) -> Option<u64> {
    let digits = path.as_ref().strip_prefix("snapshots/")?.strip_suffix(".json")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// The folder of ledgers.
pub(super) fn ledgers() -> Path {
    Path::from("ledgers")
}

/// The folder of the ledgers of a view in a store.
pub(super) fn ledgers_of(key: &LedgerKey) -> Path {
    Path::from_iter(["ledgers", &key.store, &key.view])
}

pub(super) fn ledger(key: &LedgerKey, sequence: u64) -> Path {
    ledgers_of(key).join(format!("{sequence:020}.json"))
}

/// What the ledger whose path this is speaks of, and its number; `None` for anything else that
/// lies there.
pub(super) fn ledger_of(path: &Path) -> Option<(LedgerKey, u64)> {
    let rest = path.as_ref().strip_prefix("ledgers/")?.strip_suffix(".json")?;
    let (key, digits) = rest.rsplit_once('/')?;
    let (store, view) = key.split_once('/')?;
    let sequence = (digits.len() == 20).then(|| digits.parse().ok()).flatten()?;
    Some((LedgerKey { store: store.to_owned(), view: view.to_owned() }, sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_back() {
        let name: TransformName = "commerce/user_age@1.0.0-rc.1+7".parse().unwrap();
        assert_eq!(transform_name(&transform(&name)), Some(name));
        assert_eq!(sequence(&snapshot(7)), Some(7));
        let key = LedgerKey { store: "default".to_owned(), view: "spend".to_owned() };
        assert_eq!(ledger_of(&ledger(&key, 7)), Some((key, 7)));
        for other in [
            "snapshots/7.json",
            "snapshots/00000000000000000007.json.tmp",
            "transforms/a.json",
            "ledgers/a/7.json",
        ] {
            let other = Path::from(other);
            assert_eq!((sequence(&other), transform_name(&other)), (None, None));
            assert_eq!(ledger_of(&other), None);
        }
    }
}
