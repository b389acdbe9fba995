//! Rows for tests of stores.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use unskew::{
    online::{EntityKeys, JoinKeys, Lookup, OnlineStore, RowBatch, RowVersion, ViewId},
    time::Timestamp,
    value::{DataType, Field},
};

/// The keys of entities by number.
pub fn keys(ids: impl IntoIterator<Item = i64>) -> EntityKeys {
    let id = Field {
        name: "id".to_owned(),
        data_type: DataType::Int64,
        nullable: false,
        documentation: String::new(),
    };
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    JoinKeys::new(vec![id]).unwrap().keys(&[column]).unwrap()
}

pub fn view(name: &str) -> ViewId {
    ViewId::of("test", name)
}

/// A row of an entity. Its value says all of it, so that a row which is mixed up is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub id: i64,
    pub event: i64,
    pub created: Option<i64>,
    pub content: u64,
    pub definition: u8,
}

impl Row {
    pub fn at(id: i64, event: i64) -> Self {
        Self { id, event, created: None, content: event.unsigned_abs(), definition: 1 }
    }

    pub fn version(&self) -> RowVersion {
        let created = self.created.map(Timestamp);
        RowVersion { event: Timestamp(self.event), created, content: self.content }
    }

    pub fn value(&self) -> Vec<u8> {
        let mut value = vec![1];
        value.extend_from_slice(&[self.definition; 16]);
        value.extend_from_slice(format!("{self:?}").as_bytes());
        value
    }
}

pub fn batch(rows: &[Row]) -> RowBatch {
    let mut batch = RowBatch::default();
    for (row, key) in rows.iter().zip(keys(rows.iter().map(|row| row.id)).iter()) {
        batch.push(key.unwrap(), row.version(), |out| out.extend_from_slice(&row.value()));
    }
    batch
}

/// Version and value of what is stored for entities by number.
pub async fn stored(
    store: &dyn OnlineStore,
    view: ViewId,
    ids: impl IntoIterator<Item = i64>,
) -> unskew::error::Result<Vec<Option<(RowVersion, Vec<u8>)>>> {
    let (views, keys) = ([view], keys(ids));
    let found = store.read(&[Lookup { views: &views, keys: &keys }]).await?;
    Ok(found[0].view(0).map(|row| row.map(|row| (row.version, row.value.to_vec()))).collect())
}

/// What [`stored`] gives for this row.
pub fn found(row: &Row) -> Option<(RowVersion, Vec<u8>)> {
    Some((row.version(), row.value()))
}

/// A generator of numbers, the same in every run.
pub struct Lottery(pub u64);

impl Lottery {
    pub fn draw(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.draw(i as u64 + 1) as usize);
        }
    }

    /// A row out of few, so that equals and near-equals are common.
    pub fn row(&mut self, entities: u64) -> Row {
        Row {
            id: self.draw(entities) as i64,
            event: [-1, 0, 1, 255, 256, i64::MAX, i64::MIN][self.draw(7) as usize],
            created: [None, Some(-1), Some(0), Some(256)][self.draw(4) as usize],
            content: [0, 1, 255, 256, u64::MAX][self.draw(5) as usize],
            definition: self.draw(2) as u8,
        }
    }
}
