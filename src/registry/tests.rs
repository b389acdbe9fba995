use std::{fs, sync::Arc};

use tempfile::TempDir;

use super::*;
use crate::definition::{About, Entity};

fn registry() -> (TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(folder.path()).unwrap();
    (folder, registry)
}

fn report(bytes: &str) -> PublishReport {
    PublishReport {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        functions: Vec::new(),
        runtime: Digest::of("runtime"),
        published_at: Timestamp(0),
    }
}

async fn publish(registry: &Registry, name: &str, bytes: &'static str) -> Result<Published> {
    registry
        .publish(&name.parse().unwrap(), Bytes::from_static(bytes.as_bytes()), report(bytes))
        .await
}

#[tokio::test]
async fn a_name_stands_for_one_component() {
    let (_folder, registry) = registry();
    assert_eq!(publish(&registry, "a/b@1.0.0", "one").await.unwrap(), Published::New);
    assert_eq!(publish(&registry, "a/b@1.0.0", "one").await.unwrap(), Published::Already);
    assert_eq!(publish(&registry, "a/b@1.1.0", "one").await.unwrap(), Published::New);
    let error = publish(&registry, "a/b@1.0.0", "two").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    for digest in [Digest::of("one"), Digest::of("two")] {
        assert!(error.message().contains(&digest.to_string()), "{error}");
    }
    assert_eq!(registry.resolve(&"a/b@1.0.0".parse().unwrap()).await.unwrap(), Digest::of("one"));
    assert_eq!(registry.component(&Digest::of("one")).await.unwrap(), "one");
    let error = registry.resolve(&"a/b@2.0.0".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.hint(), Some("a/b has the versions 1.0.0, 1.1.0"));
    let error = registry.resolve(&"a/c@1.0.0".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.hint(), Some("did you mean \"a/b@1.0.0\"?"));
    assert_eq!(registry.list_transforms().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_name_that_many_publish_at_once_stands_for_one() {
    let (_folder, registry) = registry();
    let tries = (0..16).map(|number| {
        let registry = registry.clone();
        let bytes = if number % 2 == 0 { "even" } else { "odd" };
        tokio::spawn(async move { publish(&registry, "a/b@1.0.0", bytes).await })
    });
    let mut new = 0;
    for tried in futures::future::join_all(tries).await {
        match tried.unwrap() {
            Ok(Published::New) => new += 1,
            Ok(Published::Already) => {}
            Err(error) => assert_eq!(error.kind(), Kind::Conflict, "{error}"),
        }
    }
    assert_eq!(new, 1);
}

#[tokio::test]
async fn altered_objects_are_named() {
    let (folder, registry) = registry();
    publish(&registry, "a/b@1.0.0", "one").await.unwrap();
    let path = paths::component(&Digest::of("one"));
    fs::write(folder.path().join(path.as_ref()), "two").unwrap();
    let error = registry.component(&Digest::of("one")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains(path.as_ref()), "{error}");
    let error = publish(&registry, "a/b@1.0.1", "one").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "a damaged component gets no further names");
    registry.commit(Timestamp(0), |_| Ok(Some(State::default()))).await.unwrap();
    fs::write(folder.path().join(paths::snapshot(1).as_ref()), "{").unwrap();
    let error = registry.newest().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains("snapshots/00000000000000000001.json"), "{error}");
}

#[tokio::test]
async fn what_is_in_force_already_is_not_committed_again() {
    let (_folder, registry) = registry();
    assert_eq!(registry.newest().await.unwrap(), None);
    assert_eq!(registry.commit(Timestamp(0), |_| Ok(None)).await.unwrap(), None);
    assert_eq!(registry.newest().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_lose_nothing() {
    let (_folder, registry) = registry();
    let registry = Arc::new(registry);
    let writers = (0..16).map(|number| {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move {
            let add = |newest: Option<&Snapshot>| {
                let mut state = newest.map(|snapshot| snapshot.state.clone()).unwrap_or_default();
                let entity = Entity { join_keys: BTreeMap::new(), about: About::default() };
                state.definitions.entities.insert(format!("entity_{number}"), entity);
                Ok(Some(state))
            };
            registry.commit(Timestamp(0), add).await
        })
    });
    for written in futures::future::join_all(writers).await {
        written.unwrap().unwrap();
    }
    for sequence in 1..=16 {
        let snapshot = registry.snapshot(sequence).await.unwrap();
        assert_eq!(snapshot.state.definitions.entities.len() as u64, sequence);
    }
    assert_eq!(registry.newest().await.unwrap().unwrap().sequence, 16);
}

#[test]
fn a_file_is_no_registry() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Registry::open(file.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains(file.path().to_str().unwrap()), "{error}");
}
