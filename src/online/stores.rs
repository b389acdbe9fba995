//! The stores of a project, and which of them a view lives in.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures::future::join_all;

use super::{Lookup, OnlineStore, ReadRows, RowBatch, Rows, ViewId, WriteReport};
use crate::{
    error::{Error, Result, did_you_mean},
    time::Span,
};

/// The online stores of a project: the one in which views live that name none, and those that
/// views may name. What one of them fails at is an error for its views and for no others.
#[derive(Debug, Clone)]
pub struct Stores {
    default: Arc<dyn OnlineStore>,
    named: BTreeMap<String, Arc<dyn OnlineStore>>,
}

impl Stores {
    /// The store of views that name none, and the others by their names.
    pub fn new(
        default: Arc<dyn OnlineStore>,
        named: BTreeMap<String, Arc<dyn OnlineStore>>,
    ) -> Self {
        Self { default, named }
    }

    /// The store that views of this definition live in: see
    /// [`FeatureView::store`](crate::definition::FeatureView::store).
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) when there is none of that name.
    pub fn get(&self, name: Option<&str>) -> Result<&Arc<dyn OnlineStore>> {
        let Some(name) = name else {
            return Ok(&self.default);
        };
        self.named.get(name).ok_or_else(|| {
            let known = self.named.keys().map(String::as_str);
            Error::not_found(format!("there is no online store {name}"))
                .with_hint(did_you_mean(name, known))
        })
    }

    /// Every store with its name; `None` is the name of the one for views that name none.
    pub fn all(&self) -> impl Iterator<Item = (Option<&str>, &Arc<dyn OnlineStore>)> {
        let named = self.named.iter().map(|(name, store)| (Some(name.as_str()), store));
        std::iter::once((None, &self.default)).chain(named)
    }

    /// Whether a read of each of these is over when it is first polled.
    pub fn read_on_the_spot<'a>(&self, names: impl IntoIterator<Item = Option<&'a str>>) -> bool {
        let on_the_spot = |name| self.get(name).is_ok_and(|store| store.reads_on_the_spot());
        names.into_iter().all(on_the_spot)
    }

    /// What each lookup finds in the store of this name, in the order of the lookups: all that are
    /// of one store in one [`OnlineStore::read`], the stores at once. Where a store fails, its
    /// lookups have its error and the others what they found.
    pub async fn read(&self, lookups: &[(Option<&str>, Lookup<'_>)]) -> Vec<Result<ReadRows>> {
        if let [(first, _), rest @ ..] = lookups
            && rest.iter().all(|(name, _)| name == first)
        {
            let lookups: Vec<_> = lookups.iter().map(|(_, lookup)| *lookup).collect();
            return self.read_one(*first, &lookups).await;
        }
        let mut by_store: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        for (place, (name, _)) in lookups.iter().enumerate() {
            by_store.entry(*name).or_default().push(place);
        }
        let reads = by_store.into_iter().map(|(name, places)| async move {
            let of_store: Vec<_> = places.iter().map(|place| lookups[*place].1).collect();
            (places, self.read_one(name, &of_store).await)
        });
        let mut found: Vec<_> = lookups.iter().map(|_| None).collect();
        for (places, results) in join_all(reads).await {
            for (place, result) in places.into_iter().zip(results) {
                found[place] = Some(result);
            }
        }
        found.into_iter().map(|result| result.unwrap_or_else(|| Err(too_few()))).collect()
    }

    /// As many results as lookups, whatever the store does.
    async fn read_one(&self, name: Option<&str>, lookups: &[Lookup<'_>]) -> Vec<Result<ReadRows>> {
        let read = match self.get(name) {
            Ok(store) => store.read(lookups).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(rows) if rows.len() == lookups.len() => rows.into_iter().map(Ok).collect(),
            Ok(_) => lookups.iter().map(|_| Err(too_few())).collect(),
            Err(error) => lookups.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

/// Stores of which there is only the one for views that name none.
impl<S: OnlineStore + 'static> From<S> for Stores {
    fn from(store: S) -> Self {
        Self::new(Arc::new(store), BTreeMap::new())
    }
}

/// A store that could not be opened: everything that is asked of it fails with the reason.
#[derive(Debug)]
pub struct UnopenedStore(pub Error);

#[async_trait]
impl OnlineStore for UnopenedStore {
    async fn read(&self, _: &[Lookup<'_>]) -> Result<Vec<ReadRows>> {
        Err(self.0.clone())
    }

    async fn write(&self, _: ViewId, _: RowBatch, _: Option<Span>) -> Result<WriteReport> {
        Err(self.0.clone())
    }

    async fn sample(&self, _: ViewId, _: usize, _: u64) -> Result<RowBatch> {
        Err(self.0.clone())
    }

    async fn count(&self, _: ViewId, _: Rows) -> Result<u64> {
        Err(self.0.clone())
    }

    async fn delete(&self, _: ViewId, _: Rows) -> Result<u64> {
        Err(self.0.clone())
    }
}

fn too_few() -> Error {
    Error::internal("an online store answered other lookups than it was asked")
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::{
        error::Kind,
        online::{EmbeddedOptions, EmbeddedStore, EntityKeys, JoinKeys, RowVersion},
        time::Timestamp,
        value::{DataType, Field},
    };

    fn keys(ids: &[i64]) -> EntityKeys {
        let id = Field {
            name: "id".to_owned(),
            data_type: DataType::Int64,
            nullable: false,
            documentation: String::new(),
        };
        let column: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        JoinKeys::new(vec![id]).unwrap().keys(&[column]).unwrap()
    }

    /// A store that has the value `name` for entity 1.
    async fn holding(folder: &TempDir, view: ViewId, name: &str) -> Arc<dyn OnlineStore> {
        let options = EmbeddedOptions { map_size: 1 << 20, ..EmbeddedOptions::default() };
        let store = EmbeddedStore::open(folder.path().join(name), options).unwrap();
        let mut rows = RowBatch::default();
        for key in keys(&[1]).iter().flatten() {
            let version = RowVersion { event: Timestamp(1), created: None, content: 1 };
            rows.push(key, version, |out| out.extend_from_slice(name.as_bytes()));
        }
        store.write(view, rows, None).await.unwrap();
        Arc::new(store)
    }

    #[tokio::test]
    async fn each_lookup_goes_to_its_store_and_a_store_fails_alone() {
        let (folder, view) = (tempdir().unwrap(), ViewId::of("shop", "view"));
        let named = [
            ("second", holding(&folder, view, "second").await),
            ("down", Arc::new(UnopenedStore(Error::unavailable("it is down"))) as _),
        ];
        let stores = Stores::new(
            holding(&folder, view, "first").await,
            named.into_iter().map(|(name, store)| (name.to_owned(), store)).collect(),
        );
        let check = async |names: &[Option<&str>], expect: &[Result<&str, Kind>]| {
            let (views, keys) = ([view], keys(&[1]));
            let lookup = Lookup { views: &views, keys: &keys };
            let lookups: Vec<_> = names.iter().map(|name| (*name, lookup)).collect();
            let found: Vec<_> = stores
                .read(&lookups)
                .await
                .into_iter()
                .map(|read| {
                    let rows = read.map_err(|error| error.kind())?;
                    let row = rows.view(0).next().flatten().unwrap();
                    Ok(String::from_utf8(row.value.to_vec()).unwrap())
                })
                .collect();
            let expect: Vec<_> =
                expect.iter().map(|result| result.map(ToOwned::to_owned)).collect();
            assert_eq!(found, expect, "{names:?}");
        };
        check(&[], &[]).await;
        check(&[None], &[Ok("first")]).await;
        check(&[Some("second"), Some("second")], &[Ok("second"), Ok("second")]).await;
        check(
            &[Some("down"), None, Some("second"), Some("down"), None],
            &[
                Err(Kind::Unavailable),
                Ok("first"),
                Ok("second"),
                Err(Kind::Unavailable),
                Ok("first"),
            ],
        )
        .await;
        check(&[Some("secnd"), None], &[Err(Kind::NotFound), Ok("first")]).await;
        let error = stores.get(Some("secnd")).unwrap_err();
        assert!(error.to_string().contains("second"), "{error}");
    }
}
