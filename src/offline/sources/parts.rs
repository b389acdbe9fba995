//! The files of a source one by one: what their footers say of their rows, and reading some of
//! them.

use std::collections::BTreeSet;

use arrow::{
    array::{Array, AsArray},
    datatypes::TimestampMicrosecondType,
};
use datafusion::prelude::DataFrame;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, statistics::StatisticsConverter};

use super::{Origin, Sources, files::FOOTERS_AT_ONCE, named};
use crate::{
    error::Result,
    offline::{
        SourceFile, errors::from_datafusion, feature_rows::Layout, parquet_file::fetch_footer,
        period::Period,
    },
    storage::Object,
    time::Timestamp,
    value::{DataType, conform},
};

/// What a source is read from.
#[derive(Debug)]
pub enum SourceInputs {
    /// Files that can be read one by one.
    Files(Vec<InputFile>),
    /// The files of a query, which is computed as a whole: it may put any of their rows together.
    Query(Vec<InputFile>),
}

/// A file of a source, and what its footer says of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// The file.
    pub file: SourceFile,
    /// Its row groups, in their order.
    pub row_groups: Vec<RowGroup>,
}

/// A row group of a file. Of the inputs of a query, nothing is known of the times of its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowGroup {
    /// How many rows it has.
    pub rows: u64,
    /// The least event time, where the file tells.
    pub first_event: Option<Timestamp>,
    /// The greatest event time, where the file tells.
    pub last_event: Option<Timestamp>,
    /// The greatest created time, where there is one and the file tells.
    pub last_created: Option<Timestamp>,
}

impl RowGroup {
    /// Whether there may be a row with an event time in a period, both ends included.
    pub fn may_have(&self, from: Option<Timestamp>, to: Timestamp) -> bool {
        let before = from.is_some_and(|from| self.last_event.is_some_and(|last| last < from));
        let after = self.first_event.is_some_and(|first| first > to);
        !before && !after
    }
}

impl Sources {
    /// The files that a source is read from, as they were when it was opened, and what their
    /// footers say.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such source; those of reading footers.
    pub async fn inputs(&self, source: &str) -> Result<SourceInputs> {
        let definition = self.definition(source)?;
        let times = match &self.table(source)?.origin {
            Origin::Files(..) => {
                Some((definition.timestamp.as_str(), definition.created.as_deref()))
            }
            Origin::Query(_) => None,
        };
        let objects = self.objects([source])?.into_iter();
        let files: Vec<_> = objects.map(|object| self.input(object, times)).collect();
        let files = stream::iter(files).buffered(FOOTERS_AT_ONCE).try_collect().await?;
        Ok(match times {
            Some(_) => SourceInputs::Files(files),
            None => SourceInputs::Query(files),
        })
    }

    /// A file, whose rows have their times in these columns.
    fn input<'a>(
        &'a self,
        object: &'a Object,
        times: Option<(&'a str, Option<&'a str>)>,
    ) -> BoxFuture<'a, Result<InputFile>> {
        let read = async move {
            let footer = fetch_footer(&self.context, &self.places.storage, object).await?;
            let file = SourceFile::of(object, &self.places.folder);
            Ok(InputFile { file, row_groups: row_groups(&footer, times) })
        };
        read.boxed()
    }

    /// As [`Sources::rows`], of those of its files that have these paths; of a query, all rows.
    pub(in crate::offline) fn rows_of(
        &self,
        source: &str,
        layout: &Layout,
        period: Period,
        paths: &BTreeSet<&str>,
    ) -> Result<DataFrame> {
        let table = self.table(source)?;
        let Origin::Files(objects, parquet, _) = &table.origin else {
            return self.rows(source, layout, period);
        };
        let wanted = objects.iter().map(|object| {
            paths.contains(object.location.relative_to(&self.places.folder).as_str())
        });
        let part = parquet.only(&wanted.collect::<Vec<_>>());
        let part = part.map_err(|error| from_datafusion(error).context(named(source)))?;
        self.rows_from(std::sync::Arc::new(part), source, layout, period)
    }
}

/// The row groups of a file, with what is known of its event and created times by these columns.
fn row_groups(footer: &ArrowReaderMetadata, times: Option<(&str, Option<&str>)>) -> Vec<RowGroup> {
    let groups = footer.metadata().row_groups();
    let (event, created) = times.map_or((None, None), |(event, created)| (Some(event), created));
    let extremes = |column: Option<&str>| column.and_then(|column| extremes(footer, column));
    let (event, created) =
        (extremes(event).unwrap_or_default(), extremes(created).unwrap_or_default());
    let group = |(place, group): (usize, &parquet::file::metadata::RowGroupMetaData)| {
        let event = event.get(place).copied().unwrap_or_default();
        RowGroup {
            rows: u64::try_from(group.num_rows()).unwrap_or_default(),
            first_event: event.0,
            last_event: event.1,
            last_created: created.get(place).and_then(|created| created.1),
        }
    };
    groups.iter().enumerate().map(group).collect()
}

/// The least and the greatest time of a column in each row group; `None` where the file does not
/// tell.
fn extremes(
    footer: &ArrowReaderMetadata,
    column: &str,
) -> Option<Vec<(Option<Timestamp>, Option<Timestamp>)>> {
    let told =
        StatisticsConverter::try_new(column, footer.schema(), footer.parquet_schema()).ok()?;
    let groups = || footer.metadata().row_groups().iter();
    let times = |array| {
        let times = conform(&array, DataType::Timestamp).ok()?;
        let times = times.as_primitive_opt::<TimestampMicrosecondType>()?.clone();
        let time = |place| times.is_valid(place).then(|| Timestamp(times.value(place)));
        Some((0..times.len()).map(time).collect::<Vec<_>>())
    };
    let least = times(told.row_group_mins(groups()).ok()?)?;
    let greatest = times(told.row_group_maxes(groups()).ok()?)?;
    Some(least.into_iter().zip(greatest).collect())
}
