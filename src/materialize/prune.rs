//! What is left in the stores of views, or of definitions of views, that are not in force any more.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::{DEFAULT_STORE, Ledger, Ledgers, ViewWriter, ledger::key};
use crate::{
    definition::FeatureView,
    digest::Digest,
    error::{Context as _, Error, Result},
    evaluate::InForce,
    online::{FingerprintPrefix, OnlineStore, Rows, Stores, ViewId},
    registry::{LedgerKey, Registry},
};

/// How many snapshots are read at once.
const AT_ONCE: usize = 16;

/// Rows and ledgers that no view in force writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Leftover {
    /// The view.
    pub view: String,
    /// The store; `None` is the one of views that name none.
    pub store: Option<String>,
    /// What became of the view.
    pub why: Gone,
    /// How many rows there are; `None` where the store is not in the project's settings any more.
    pub rows: Option<u64>,
}

/// What became of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// It was removed.
    Removed,
    /// It is not online any more.
    Offline,
    /// It lives in another store.
    Moved,
    /// It was defined otherwise when the rows were written, and was materialized since: what was
    /// not replaced is newer than what its source has of the entity, if it has any row of it.
    Redefined,
}

impl Gone {
    /// What became of it, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Offline => "not online any more",
            Self::Moved => "in another store",
            Self::Redefined => "of an earlier definition",
        }
    }

    /// What became of a view that was in a store; `None` where it is there still.
    fn of(view: Option<&FeatureView>, store: Option<&str>) -> Option<Self> {
        match view {
            None => Some(Self::Removed),
            Some(view) if !view.online => Some(Self::Offline),
            Some(view) if view.store.as_deref() != store => Some(Self::Moved),
            Some(_) => None,
        }
    }
}

/// What is left of every view that ever was online, and is not, or not in that store; and of earlier
/// definitions of those that are. Where a store fails, each view that lived in it has an error, which
/// names both, and the others what is left of them.
///
/// # Errors
/// Those of the registry.
pub async fn leftovers(
    in_force: &InForce,
    stores: &Stores,
    registry: &Registry,
) -> Result<Vec<Result<Leftover>>> {
    let ledgers = registry.ledgers().await?;
    let mut found = Vec::new();
    for (view, store) in lived(in_force, registry, &ledgers).await? {
        let now = in_force.state.definitions.feature_views.get(&view);
        let why = Gone::of(now, store.as_deref()).unwrap_or(Gone::Redefined);
        let key = key(&view, store.as_deref());
        let kept = why != Gone::Redefined && ledgers.contains(&key);
        let rows = rows(why, in_force, &view, stores, registry, store.as_deref()).await;
        match rows.context(|| format!("what is left of {view} in store {} is not known", key.store))
        {
            Ok(rows) if rows.unwrap_or(0) > 0 || kept => {
                found.push(Ok(Leftover { view, store, why, rows }));
            }
            Ok(_) => {}
            Err(error) => found.push(Err(error)),
        }
    }
    Ok(found)
}

/// How many rows are left of a view; `None` where its store is not in the settings any more.
async fn rows(
    why: Gone,
    in_force: &InForce,
    view: &str,
    stores: &Stores,
    registry: &Registry,
    store: Option<&str>,
) -> Result<Option<u64>> {
    let Ok(online) = stores.get(store) else {
        return Ok(None);
    };
    let rows = match why {
        Gone::Redefined => outdated(in_force, view, registry, store, &**online).await?,
        _ => online.count(ViewId::of(&in_force.project, view), Rows::All).await?,
    };
    Ok(Some(rows))
}

/// How many rows of a view are of earlier definitions of it; none, as long as it was not
/// materialized under the one in force: until then they are better than nothing.
async fn outdated(
    in_force: &InForce,
    view: &str,
    registry: &Registry,
    store: Option<&str>,
    online: &dyn OnlineStore,
) -> Result<u64> {
    let mut ledgers = Ledgers::new(&in_force.project, view, registry, store, online);
    let definition = ViewWriter::new(in_force, view)?.definition();
    match whole(&mut ledgers, definition).await? {
        Some(_) => {
            online.count(ViewId::of(&in_force.project, view), outdated_by(&definition)).await
        }
        None => Ok(0),
    }
}

/// The ledger of a view that was materialized under a definition.
async fn whole(ledgers: &mut Ledgers<'_>, definition: Digest) -> Result<Option<Ledger>> {
    let whole = |ledger: &Ledger| ledger.definition == definition && ledger.through.is_some();
    Ok(ledgers.current().await?.filter(whole))
}

fn outdated_by(definition: &Digest) -> Rows {
    Rows::Outdated(FingerprintPrefix::from(definition))
}

/// The views that ever were online, each with the stores that it lived in.
async fn lived(
    in_force: &InForce,
    registry: &Registry,
    ledgers: &BTreeSet<LedgerKey>,
) -> Result<BTreeSet<(String, Option<String>)>> {
    let named = |store: &String| (store != DEFAULT_STORE).then(|| store.clone());
    let mut lived: BTreeSet<_> =
        ledgers.iter().map(|key| (key.view.clone(), named(&key.store))).collect();
    let snapshots = stream::iter((1..=in_force.sequence).map(|number| registry.snapshot(number)));
    let mut snapshots = snapshots.buffered(AT_ONCE);
    while let Some(snapshot) = snapshots.try_next().await? {
        let views: BTreeMap<String, FeatureView> = snapshot.state.definitions.feature_views;
        let online = views.into_iter().filter(|(_, view)| view.online);
        lived.extend(online.map(|(name, view)| (name, view.store)));
    }
    Ok(lived)
}

/// Deletes what is left of a view. Of one that is in force, nothing is said to be read afterwards:
/// the source may have rows that were not written since what is deleted was newer. Whatever happens
/// meanwhile, no ledger claims rows that are gone.
///
/// # Errors
/// Those of the store and of the registry; [`crate::error::Kind::Conflict`] when something else came
/// into force or was materialized since. What was not deleted is found again.
pub async fn delete_leftover(
    leftover: &Leftover,
    in_force: &InForce,
    stores: &Stores,
    registry: &Registry,
) -> Result<()> {
    let Leftover { view, store, why, .. } = leftover;
    let store = store.as_deref();
    // To find what is left takes a while.
    if registry.newest_sequence().await?.is_some_and(|newest| newest != in_force.sequence) {
        return Err(Error::conflict("other definitions came into force meanwhile")
            .with_hint("run it again: it looks anew for what is left"));
    }
    if *why == Gone::Redefined {
        return delete_outdated(in_force, view, registry, store, &**stores.get(store)?).await;
    }
    if let Ok(online) = stores.get(store) {
        Ledgers::new(&in_force.project, view, registry, store, online.as_ref()).forget().await?;
        online.delete(ViewId::of(&in_force.project, view), Rows::All).await?;
    }
    registry.delete_ledgers(&key(view, store)).await
}

async fn delete_outdated(
    in_force: &InForce,
    view: &str,
    registry: &Registry,
    store: Option<&str>,
    online: &dyn OnlineStore,
) -> Result<()> {
    let mut ledgers = Ledgers::new(&in_force.project, view, registry, store, online);
    let definition = ViewWriter::new(in_force, view)?.definition();
    let Some(kept) = whole(&mut ledgers, definition).await? else {
        return Err(Error::conflict("the view was materialized under another definition since")
            .with_hint("run it again: it looks anew for what is left"));
    };
    reset(&mut ledgers, &kept).await?;
    online.delete(ViewId::of(&in_force.project, view), outdated_by(&definition)).await?;
    // A run that began meanwhile may have left rows to those that are gone now.
    reset(&mut ledgers, &kept).await
}

/// Makes the ledger say that nothing was read, whichever run wrote it.
async fn reset(ledgers: &mut Ledgers<'_>, kept: &Ledger) -> Result<()> {
    let next =
        |current: Result<Option<Ledger>>| Ok(current?.unwrap_or_else(|| kept.clone()).reset());
    match ledgers.write(next).await?.definition == kept.definition {
        true => Ok(()),
        false => {
            Err(Error::conflict("the view was materialized under another definition meanwhile")
                .with_hint("unskew materialize writes anew what may have been deleted with it"))
        }
    }
}
