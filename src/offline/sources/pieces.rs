//! The rows of a source in pieces that can be read side by side: some row groups of one file.

use std::{ops::Range, sync::Arc};

use datafusion::prelude::DataFrame;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::{Origin, Sources, files::FOOTERS_AT_ONCE, named, table::ParquetTable};
use crate::{
    error::{Error, Result},
    offline::{errors::from_datafusion, parquet_file::fetch_footer},
    storage::Object,
};

/// How many rows a piece has at the least, but for the last of a file.
const ROWS: u64 = 1 << 17;

/// Rows of one file, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::offline) struct Piece {
    /// Which of the files of the source.
    file: usize,
    /// Where in the file the row groups begin.
    bytes: Range<i64>,
    /// How many rows.
    pub(in crate::offline) rows: u64,
    /// Whether there are more in the row groups, which are left out.
    cut: bool,
}

impl Piece {
    /// The first of its rows.
    #[must_use]
    pub(in crate::offline) fn first(self, rows: u64) -> Self {
        let cut = self.cut || rows < self.rows;
        Self { rows: self.rows.min(rows), cut, ..self }
    }
}

impl Sources {
    /// The files of a source in the order of their paths, and the pieces of each in the order of
    /// its rows.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such source,
    /// [`crate::error::Kind::Internal`] when it is a query; those of reading footers.
    pub(in crate::offline) async fn pieces(
        &self,
        source: &str,
    ) -> Result<Vec<(Object, Vec<Piece>)>> {
        let (objects, _) = self.parquet(source)?;
        let footers: Vec<_> = objects.iter().enumerate().map(|file| self.cut(file)).collect();
        stream::iter(footers).buffered(FOOTERS_AT_ONCE).try_collect().await
    }

    fn cut<'a>(
        &'a self,
        (file, object): (usize, &'a Object),
    ) -> BoxFuture<'a, Result<(Object, Vec<Piece>)>> {
        let read = async move {
            let footer = fetch_footer(&self.context, &self.places.storage, object).await?;
            Ok((object.clone(), pieces(file, &footer)))
        };
        read.boxed()
    }

    /// The rows of a piece, with the columns of the source.
    ///
    /// # Errors
    /// Those of [`Sources::pieces`].
    pub(in crate::offline) fn rows_of_piece(
        &self,
        source: &str,
        piece: &Piece,
    ) -> Result<DataFrame> {
        let (_, parquet) = self.parquet(source)?;
        let limit = piece.cut.then(|| usize::try_from(piece.rows).unwrap_or(usize::MAX));
        let rows = parquet
            .piece(piece.file, &piece.bytes)
            .and_then(|table| self.context.read_table(Arc::new(table))?.limit(0, limit));
        rows.map_err(|error| from_datafusion(error).context(named(source)))
    }

    fn parquet(&self, source: &str) -> Result<(&[Object], &ParquetTable)> {
        match &self.table(source)?.origin {
            Origin::Files(objects, parquet, _) => Ok((objects.as_slice(), parquet.as_ref())),
            Origin::Query(_) => Err(Error::internal(format!("{} has no files", named(source)))),
        }
    }
}

/// Row groups, as many together as make a piece. A file whose row groups do not stand in their
/// order is one piece.
fn pieces(file: usize, footer: &ArrowReaderMetadata) -> Vec<Piece> {
    let groups = footer.metadata().row_groups();
    let begin = |group: &parquet::file::metadata::RowGroupMetaData| {
        let column = group.columns().first()?;
        Some(column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset()))
    };
    let begins: Option<Vec<i64>> = groups.iter().map(begin).collect();
    let begins = begins.filter(|begins| begins.is_sorted_by(|one, next| one < next));
    let mut pieces: Vec<Piece> = Vec::new();
    for (place, group) in groups.iter().enumerate() {
        let rows = u64::try_from(group.num_rows()).unwrap_or_default();
        match (pieces.last_mut(), &begins) {
            (Some(last), begins) if last.rows < ROWS || begins.is_none() => last.rows += rows,
            (last, begins) => {
                let begin = begins.as_ref().map_or(0, |begins| begins[place]);
                if let Some(last) = last {
                    last.bytes.end = begin;
                }
                pieces.push(Piece { file, bytes: begin..i64::MAX, rows, cut: false });
            }
        }
    }
    pieces
}
