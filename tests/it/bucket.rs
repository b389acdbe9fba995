//! A registry in a bucket, by URL: everything that a registry in a folder does, and what stores refuse.

use std::{
    fs,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::{
    race::{entity_of, late_to_apply},
    s3::{S3, answering},
    shop::shop,
    support::Project,
};

const PROCESSES: usize = 8;

fn settings(server: &str) -> String {
    format!("[project]\nname = \"probe\"\nregistry = \"s3://lake/registries/probe\"\n{server}")
}

/// What `unskew.toml` says of a store at this endpoint.
fn store(endpoint: &str) -> String {
    format!(
        "[storage.\"s3://\"]\nendpoint = \"{endpoint}\"\nallow_http = true\nretries = 1\n\
         access_key_id_env = \"LAKE_KEY\"\nsecret_access_key_env = \"LAKE_SECRET\"\n"
    )
}

fn run(project: &Project, arguments: &[&str]) -> Output {
    let mut command = project.command(arguments);
    command.env("LAKE_KEY", "test").env("LAKE_SECRET", "very-secret").output().unwrap()
}

fn ok(project: &Project, arguments: &[&str]) -> Value {
    let output = run(project, &[arguments, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", arguments.join(" "));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Publish, apply, train, materialize twice and read: the same answers as with a folder.
#[test]
fn a_registry_in_a_bucket_does_what_one_in_a_folder_does() {
    let project = shop();
    let train =
        ["training-set", "--entities", "entities.parquet", "--service", "churn", "-o", "t.parquet"];
    let materialize = ["materialize", "--to", "1998-02-01"];
    let get =
        ["get", "--service", "churn", "--entity", "customer_id=1", "--event-time", "1998-01-10"];
    let answers = |project: &Project| {
        let dataset = ok(project, &train)["content_hash"].clone();
        let first = ok(project, &materialize);
        let again = ok(project, &materialize);
        assert_ne!(first, again, "the second one finds its ledger, and nothing new");
        let features = ok(project, &get)["features"].clone();
        (dataset, features)
    };
    ok(&project, &["apply"]);
    let expected = answers(&project);

    let server = S3::start();
    fs::remove_dir_all(project.path("registry")).unwrap();
    fs::remove_dir_all(project.path("online")).unwrap();
    project.write("unskew.toml", &settings(&server.settings()));
    let folder = crate::support::checkout().join("transforms/user_age");
    ok(&project, &["transform", "publish", folder.to_str().unwrap()]);
    ok(&project, &["apply"]);
    assert_eq!(answers(&project), expected);
    assert!(!project.path("registry").exists() && !project.path("s3:").exists());
    ok(&project, &["replay", "t.parquet"]);
    drop(server);
    let said = run(&project, &["plan"]);
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.contains("s3://lake/registries/probe/") && said.contains("no answer after 3 attempts"),
        "{said}"
    );
}

#[test]
fn eight_processes_apply_to_one_bucket_at_once() {
    let server = S3::start();
    let project = Project::new();
    let names: Vec<String> = (0..PROCESSES).map(|number| format!("checkout{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        entity_of(&project, name, number, &settings(&server.settings()));
    }
    let children = names.iter().map(|name| {
        let mut command = project.command(&["--project", name, "--json", "apply"]);
        command.env("LAKE_KEY", "test").env("LAKE_SECRET", "test");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    let children = children.collect();
    let (mut sequences, late) = late_to_apply(children);
    for number in late {
        let applied = ok(&project, &["--project", &names[number], "apply"]);
        sequences.push((applied["snapshot"].as_u64().unwrap(), number));
    }
    sequences.sort_unstable();
    let numbers: Vec<u64> = sequences.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(numbers, (1..=PROCESSES as u64).collect::<Vec<_>>());
    for (sequence, number) in sequences {
        let text = server.get(&format!("registries/probe/snapshots/{sequence:020}.json"));
        let snapshot: Value = serde_json::from_str(&text).unwrap();
        let entities = snapshot["state"]["definitions"]["entities"].as_object().unwrap();
        assert_eq!(entities.keys().collect::<Vec<_>>(), [&format!("entity_{number}")]);
    }
}

#[test]
fn what_a_store_refuses_is_told() {
    let project = Project::new();
    entity_of(&project, ".", 0, "");
    let check = |endpoint: &str, expect: &[&str]| {
        project.write("unskew.toml", &settings(&store(endpoint)));
        let output = run(&project, &["apply"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(expect.iter().all(|part| said.contains(part)), "{said}");
        assert!(!said.contains("very-secret"), "{said}");
    };
    let denied = answering(|_| ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>"));
    check(&denied, &["the registry: s3://lake/registries/probe/", "access was denied"]);
    check("http://127.0.0.1:1", &["s3://lake/registries/probe/", "no answer after 2 attempts"]);
    // It has nothing, and takes everything, conditions or not.
    let careless = answering(|method| match method {
        "GET" => {
            ("200 OK", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        }
        _ => ("200 OK", ""),
    });
    check(&careless, &["s3://lake/registries/probe cannot be a registry", "If-None-Match"]);
}
