//! Connections to object stores: the same settings for each kind.

use std::sync::Arc;

use object_store::{
    ObjectStore, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
};

use super::{StorageSettings, settings::Settings};
use crate::error::{Error, Result};

/// The store of a bucket. What its settings do not say, the environment may: each kind knows the
/// variables that its vendor's own tools know.
pub(super) fn connect(bucket: &str, settings: &StorageSettings) -> Result<Arc<dyn ObjectStore>> {
    let Settings { options, retry } = settings.of(bucket)?;
    /// The builders have these methods in common, and no trait.
    macro_rules! build {
        ($builder:ty) => {{
            let mut builder = <$builder>::from_env().with_url(bucket).with_retry(retry);
            for (name, value) in options {
                let key = name.parse().map_err(|_| unknown(&name))?;
                builder = builder.with_config(key, value);
            }
            Arc::new(builder.build().map_err(|error| Error::invalid(error.to_string()))?)
        }};
    }
    Ok(match bucket.split_once("://") {
        Some(("s3", _)) => build!(AmazonS3Builder),
        Some(("gs", _)) => build!(GoogleCloudStorageBuilder),
        Some(("az" | "abfss", _)) => build!(MicrosoftAzureBuilder),
        _ => return Err(Error::internal(format!("{bucket} is no store"))),
    })
}

fn unknown(option: &str) -> Error {
    Error::invalid(format!("there is no option {option}")).with_hint(
        "for S3 for instance: endpoint, region, allow_http, virtual_hosted_style_request, \
         skip_signature, access_key_id_env, secret_access_key_env, session_token_env",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_store_takes_its_options() {
        let check = |bucket: &str, text: &str, expect: Option<&str>| {
            let settings: StorageSettings = toml::from_str(text).unwrap();
            let error = connect(bucket, &settings).err().map(|error| error.to_string());
            match (&error, expect) {
                (None, None) => {}
                (Some(error), Some(expect)) if error.contains(expect) => {}
                _ => panic!("{bucket}: {error:?}, not {expect:?}"),
            }
        };
        check("s3://b", "['s3://b']\nendpoint = 'http://localhost:1'\nallow_http = true", None);
        check("gs://b", "['gs://']\nskip_signature = true", None);
        check("az://b", "['az://b']\naccount_name = 'me'\nskip_signature = true", None);
        check("s3://b", "['s3://b']\nregio = 'x'", Some("there is no option regio"));
    }
}
