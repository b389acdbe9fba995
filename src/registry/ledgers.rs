//! Ledgers: how far each feature view is materialized in each online store.
//!
//! The only objects that ever go away: a ledger is followed by the next, and old ones are of no
//! use. What is in them is the materializer's affair.

use std::collections::BTreeSet;

use serde::{Serialize, de::DeserializeOwned};

use super::{Created, Registry, paths};
use crate::error::Result;

/// How many ledgers of a view are kept: an online store that was set back to an earlier state goes
/// on from the one of that time.
const KEPT: u64 = 16;

/// What a series of ledgers is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LedgerKey {
    /// The name of the online store.
    pub store: String,
    /// The name of the feature view.
    pub view: String,
}

impl Registry {
    /// The ledger of this number; `None` where there is none, or no longer.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] when it cannot be read.
    pub async fn ledger<T: DeserializeOwned>(
        &self,
        key: &LedgerKey,
        sequence: u64,
    ) -> Result<Option<T>> {
        self.objects.read_json(&paths::ledger(key, sequence)).await
    }

    /// The greatest number of a ledger; 0 where there is none.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] when the registry cannot be read.
    pub async fn last_ledger(&self, key: &LedgerKey) -> Result<u64> {
        let listed = self.objects.list(&paths::ledgers_of(key)).await?;
        let numbers = listed.iter().filter_map(paths::ledger_of).map(|(_, number)| number);
        Ok(numbers.max().unwrap_or(0))
    }

    /// Creates the ledger of this number and says whether it did: of several processes, one does.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] when the registry cannot be written to.
    pub async fn create_ledger(
        &self,
        key: &LedgerKey,
        sequence: u64,
        ledger: &impl Serialize,
    ) -> Result<bool> {
        let created = self.objects.create_json(&paths::ledger(key, sequence), ledger).await?;
        Ok(created == Created::Now)
    }

    /// Deletes the ledgers that are so much older than the one of this number that nobody goes on
    /// from them.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] when the registry cannot be written to.
    pub async fn prune_ledgers(&self, key: &LedgerKey, sequence: u64) -> Result<()> {
        self.delete_ledgers_before(key, sequence.saturating_sub(KEPT - 1)).await
    }

    /// Deletes all ledgers of a view in a store.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] when the registry cannot be written to.
    pub async fn delete_ledgers(&self, key: &LedgerKey) -> Result<()> {
        self.delete_ledgers_before(key, u64::MAX).await
    }

    async fn delete_ledgers_before(&self, key: &LedgerKey, end: u64) -> Result<()> {
        let listed = self.objects.list(&paths::ledgers_of(key)).await?;
        for path in listed {
            if paths::ledger_of(&path).is_some_and(|(_, sequence)| sequence < end) {
                self.objects.delete(&path).await?;
            }
        }
        Ok(())
    }

    /// Everything that has ledgers.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] when the registry cannot be read.
    pub async fn ledgers(&self) -> Result<BTreeSet<LedgerKey>> {
        let listed = self.objects.list(&paths::ledgers()).await?;
        Ok(listed.iter().filter_map(paths::ledger_of).map(|(key, _)| key).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ledgers_are_created_once_and_old_ones_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let key = |view: &str| LedgerKey { store: "default".to_owned(), view: view.to_owned() };
        let (one, other) = (key("one"), key("one_more"));
        assert_eq!(registry.last_ledger(&one).await.unwrap(), 0);
        for sequence in 1..=20 {
            assert!(registry.create_ledger(&one, sequence, &sequence).await.unwrap());
        }
        assert!(registry.create_ledger(&other, 1, &7).await.unwrap());
        assert!(!registry.create_ledger(&one, 20, &0).await.unwrap());
        registry.prune_ledgers(&one, 20).await.unwrap();
        for sequence in 0..=21 {
            let expected = (5..=20).contains(&sequence).then_some(sequence);
            assert_eq!(registry.ledger::<u64>(&one, sequence).await.unwrap(), expected);
        }
        assert_eq!(registry.last_ledger(&one).await.unwrap(), 20);
        assert_eq!(registry.ledgers().await.unwrap(), [one.clone(), other.clone()].into());
        registry.delete_ledgers(&one).await.unwrap();
        registry.delete_ledgers(&one).await.unwrap();
        assert_eq!(registry.ledgers().await.unwrap(), [other].into());
    }
}
