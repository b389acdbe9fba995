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
        format: PublishReport::FORMAT,
        checked: None,
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        functions: Vec::new(),
        runtime: Digest::of("runtime"),
        published_at: Timestamp(0),
    }
}

async fn publish(registry: &Registry, name: &str, bytes: &'static str) -> Result<Published> {
    registry
        .publish(&name.parse().unwrap(), Bytes::from_static(bytes.as_bytes()), report(bytes), &[])
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

#[tokio::test]
async fn cases_are_kept_with_the_name() {
    let (folder, registry) = registry();
    let name: TransformName = "a/b@1.2.0".parse().unwrap();
    let case = |x: i64| Case {
        origin: "cases.toml, case 1".to_owned(),
        function: "f".to_owned(),
        inputs: BTreeMap::from([("x".to_owned(), x.into())]),
        params: BTreeMap::new(),
        outputs: BTreeMap::new(),
        error: None,
    };
    let cases = [case(1), case(2)];
    let bytes = || Bytes::from_static(b"one");
    registry.publish(&name, bytes(), report("one"), &cases).await.unwrap();
    assert_eq!(registry.cases(&name).await.unwrap(), cases);
    // Published again with others, the name keeps its own.
    registry.publish(&name, bytes(), report("one"), &cases[..1]).await.unwrap();
    assert_eq!(registry.cases(&name).await.unwrap(), cases);
    publish(&registry, "a/b@1.10.0", "one").await.unwrap();
    publish(&registry, "a/bb@1.11.0", "one").await.unwrap();
    let before = async |name: &str| {
        let before = registry.version_before(&name.parse().unwrap()).await.unwrap();
        before.map(|name| name.to_string())
    };
    assert_eq!(before("a/b@1.2.0").await, None);
    assert_eq!(before("a/b@2.0.0").await.as_deref(), Some("a/b@1.10.0"));
    assert_eq!(before("a/b@1.9.0").await.as_deref(), Some("a/b@1.2.0"));
    let file = fs::read_dir(folder.path().join("cases/sha256")).unwrap().next().unwrap().unwrap();
    fs::write(file.path(), "[]").unwrap();
    assert_eq!(registry.cases(&name).await.unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn reports_of_the_first_format_are_read() {
    let mut old = serde_json::to_value(report("one")).unwrap();
    old.as_object_mut().unwrap().remove("format");
    let read: PublishReport = serde_json::from_value(old).unwrap();
    assert_eq!((read.format, read.checked), (1, None));
}
