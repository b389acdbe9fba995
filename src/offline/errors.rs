//! Errors on their way through DataFusion, and out of it.

use std::{error::Error as StdError, io, iter::successors};

use datafusion::{arrow::error::ArrowError, error::DataFusionError};

use crate::error::{Error, Kind};

/// An error of ours, to pass through DataFusion.
pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// An error that comes out of DataFusion: ours as it went in, others by what can be done.
pub(super) fn from_datafusion(error: DataFusionError) -> Error {
    let chain = successors(Some(&error as &dyn StdError), |error| (*error).source());
    match chain.filter_map(ours).next() {
        Some(ours) => ours.clone(),
        None => foreign(&error),
    }
}

/// An error of ours, or one that an error of the system's was made of.
fn ours<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let within = || error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
    error.downcast_ref().or_else(within)
}

fn foreign(error: &DataFusionError) -> Error {
    let kind = kind(error.find_root());
    let error = Error::new(kind, error.strip_backtrace());
    match kind {
        Kind::Limit => {
            error.with_hint("raise the memory limit, or work on fewer partitions at once")
        }
        _ => error,
    }
}

fn kind(root: &DataFusionError) -> Kind {
    match root {
        DataFusionError::ResourcesExhausted(_) => Kind::Limit,
        DataFusionError::ParquetError(_) => Kind::Corrupt,
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::ParquetError(_) => Kind::Corrupt,
            ArrowError::IoError(..) => Kind::Unavailable,
            _ => Kind::Invalid,
        },
        DataFusionError::ObjectStore(error) => match error.as_ref() {
            object_store::Error::NotFound { .. } => Kind::NotFound,
            _ => Kind::Unavailable,
        },
        DataFusionError::IoError(_) | DataFusionError::External(_) => Kind::Unavailable,
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::Execution(_) => Kind::Invalid,
        _ => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn ours_come_out_as_they_went_in() {
        let ours = Error::invalid("no such view").with_hint("there are none");
        let wrapped = external(ours.clone()).context("while planning");
        let shared = DataFusionError::Shared(Arc::new(DataFusionError::Collection(vec![wrapped])));
        assert_eq!(from_datafusion(shared), ours);
    }

    #[test]
    fn others_say_what_can_be_done() {
        let check = |error: DataFusionError, expect: Kind| {
            assert_eq!(from_datafusion(error.context("while reading")).kind(), expect);
        };
        check(DataFusionError::ResourcesExhausted("sort".into()), Kind::Limit);
        check(DataFusionError::Plan("no such column".into()), Kind::Invalid);
        check(DataFusionError::Internal("?".into()), Kind::Internal);
        check(std::io::Error::other("disk").into(), Kind::Unavailable);
    }
}
