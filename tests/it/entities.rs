//! Entity dataframes of every kind give the same dataset; what was asked for is in the manifest, and
//! replays.

use std::fs;

use serde_json::{Value, json};

use crate::{
    shop::{days, ids, shop, write_many_entities},
    support::{Project, read_parquet, write_parquet},
};

/// Makes the training dataset of these entity rows.
fn train(project: &Project, entities: &[&str]) -> Value {
    let common = ["training-set", "--service", "churn", "-o", "train.parquet"];
    project.json(&[&common[..], entities].concat())
}

/// What is said where these entity rows are refused.
fn refused(project: &Project, entities: &[&str]) -> String {
    let common = ["training-set", "--service", "churn", "-o", "x.parquet"];
    project.fails(2, &[&common[..], entities].concat())
}

fn manifest(project: &Project) -> Value {
    project.json(&["manifest", "train.parquet"])
}

/// The entity rows of the shop.
const CSV: &str = "customer_id,event_timestamp\n1,1998-01-07\n2,1998-01-16T00:00:00Z\n\
                   1,1998-01-01 00:00:00\n9,1998-01-07T02:00:00+02:00\n";

#[test]
fn a_csv_file_and_a_query_give_what_a_parquet_file_gives() {
    let project = shop();
    let expected = train(&project, &["--entities", "entities.parquet"]);
    project.write("entities.csv", CSV);
    let of_csv = train(&project, &["--entities", "entities.csv"]);
    assert_eq!(of_csv["content_hash"], expected["content_hash"]);
    assert_eq!(manifest(&project)["request"]["entities"]["file"]["path"], "entities.csv");
    project.ok(&["replay", "train.parquet"]);
    project.write("entities.csv", &CSV.replace("\n9,", "\n3,"));
    let output = project.run(&["replay", "train.parquet", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&found["inputs"][0]["path"], &found["inputs"][0]["change"]),
        (&json!("entities.csv"), &json!("altered"))
    );
    assert_eq!(found["rows_changed"], json!({"customer_id": 1}));
}

#[test]
fn what_is_read_is_not_replaced() {
    let project = shop();
    project.write("entities.csv", CSV);
    let check = |entities: &str, output: &str| {
        let before = fs::read(project.path(output)).unwrap();
        let arguments =
            ["training-set", "--service", "churn", "--entities", entities, "-o", output];
        let said = project.fails(2, &arguments);
        let expected = format!(
            "error: {output} was not written: it is a file that is read\n\
             hint: write to another place\n"
        );
        assert_eq!(said, expected);
        assert_eq!(fs::read(project.path(output)).unwrap(), before);
    };
    check("entities.parquet", "orders.parquet");
    check("entities.parquet", "./entities.parquet");
    check("entities.csv", "entities.csv");
}

#[test]
fn columns_of_other_names_are_mapped_and_others_are_carried_through() {
    let project = shop();
    let times = days(&[6, 15]);
    write_parquet(
        &project.path("labels.parquet"),
        &[("label", ids(&[1, 0])), ("customer", ids(&[1, 2])), ("seen", times)],
    );
    let entities = [
        "--entities",
        "labels.parquet",
        "--map",
        "customer_id=customer",
        "--map",
        "event_timestamp=seen",
    ];
    train(&project, &entities);
    let rows = read_parquet(&project.path("train.parquet"));
    let schema = rows.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["label", "customer_id", "event_timestamp", "amount", "user_age"]);
    let names = json!({"customer_id": "customer", "event_timestamp": "seen"});
    assert_eq!(manifest(&project)["request"]["names"], names);
    assert!(project.ok(&["manifest", "train.parquet"]).contains("customer_id in customer"));
    project.ok(&["replay", "train.parquet"]);

    let said = refused(&project, &["--entities", "labels.parquet", "--timestamp-column", "seen"]);
    let expect = "the entity dataframe labels.parquet has no column customer_id; it has: label, customer, seen\n\
                  hint: did you mean \"customer\"? --map customer_id=customer reads it so";
    assert!(said.contains(expect), "{said}");
    assert!(!project.path("x.parquet").exists());
}

#[test]
fn a_query_over_the_sources_is_an_entity_dataframe() {
    let project = shop();
    let definitions = format!(
        "{}\n[source.visits]\npath = \"visits\"\ntimestamp = \"event_timestamp\"\n",
        crate::shop::DEFINITIONS
    );
    fs::create_dir(project.path("visits")).unwrap();
    for (name, customers, at) in [("a", [1, 2], [6, 15]), ("b", [1, 9], [0, 6])] {
        let columns = [("customer_id", ids(&customers)), ("event_timestamp", days(&at))];
        write_parquet(&project.path(&format!("visits/{name}.parquet")), &columns);
    }
    let expected = train(&project, &["--entities", "entities.parquet"]);
    project.write("features/shop.toml", &definitions);
    project.ok(&["apply"]);
    let sql = "SELECT customer_id, event_timestamp FROM visits";
    let made = train(&project, &["--entities-sql", sql]);
    assert_eq!(made["content_hash"], expected["content_hash"]);
    let found = manifest(&project);
    assert_eq!(found["request"]["entities"], json!({"sql": sql}));
    let inputs: Vec<&str> = found["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| input["path"].as_str().unwrap())
        .collect();
    assert_eq!(inputs, ["orders.parquet", "visits/a.parquet", "visits/b.parquet"]);
    project.ok(&["replay", "train.parquet"]);
    fs::copy(project.path("visits/a.parquet"), project.path("visits/c.parquet")).unwrap();
    let output = project.run(&["replay", "train.parquet", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["inputs"][0]["path"], "visits/c.parquet");

    let said = refused(&project, &["--entities-sql", "SELECT * FROM visit"]);
    let expect =
        "error: the query of entities: no such source: \"visit\"\nhint: did you mean \"visits\"?\n";
    assert_eq!(said, expect);
    let said = refused(&project, &["--entities-sql", "SELECT customer_id FROM visits"]);
    assert!(said.contains("the query of entities has no column \"event_timestamp\" with the times; it has: customer_id"), "{said}");
}

#[test]
fn a_part_of_the_rows_is_the_same_part_every_time() {
    let project = shop();
    write_many_entities(&project, 5_000);
    let entities = ["--entities", "entities.parquet"];
    let part = |more: &[&str]| train(&project, &[&entities[..], more].concat());
    let sample = part(&["--sample", "0.1"]);
    let rows = sample["rows"].as_u64().unwrap();
    assert!((400..600).contains(&rows), "{rows}");
    let found = manifest(&project);
    assert_eq!(found["request"]["sample"], json!({"fraction": 0.1, "seed": 0}));
    project.ok(&["replay", "train.parquet"]);
    let again = part(&["--sample", "0.1", "--threads", "1", "--batch-rows", "77"]);
    assert_eq!(again["content_hash"], sample["content_hash"]);
    let other = part(&["--sample", "0.1", "--seed", "1"]);
    assert_ne!(other["content_hash"], sample["content_hash"]);
    let first = part(&["--sample", "0.1", "--limit", "17"]);
    assert_eq!(first["rows"], 17);
    assert_eq!(part(&["--limit", "9999"])["rows"], 5_000);
    project.ok(&["replay", "train.parquet"]);
    assert_eq!(part(&["--limit", "0"])["rows"], 0);
    let said = refused(&project, &["--entities", "entities.parquet", "--sample", "1.5"]);
    assert!(said.contains("not a part of the rows: \"1.5\""), "{said}");
}

#[test]
fn the_manifest_tells_what_the_values_are_like() {
    let project = shop();
    write_many_entities(&project, 40_000);
    let entities = ["--entities", "entities.parquet"];
    train(&project, &entities);
    let found = manifest(&project)["statistics"].clone();
    for more in [["--threads", "1"], ["--batch-rows", "333"], ["--memory-limit", "2MB"]] {
        train(&project, &[&entities[..], &more].concat());
        assert_eq!(manifest(&project)["statistics"], found, "{more:?}");
    }
    let column = |name: &str| {
        found.as_array().unwrap().iter().find(|column| column["column"] == name).unwrap().clone()
    };
    let customers = column("customer_id");
    assert_eq!(
        (&customers["min"], &customers["max"], &customers["mean"]),
        (&json!(0), &json!(3), &json!(1.5))
    );
    assert_eq!((&customers["distinct"], &customers["nulls"]), (&json!(4), &json!(0)));
    assert_eq!(customers["spread"]["histogram"].as_array().unwrap().len(), 4);
    let times = column("event_timestamp");
    assert_eq!(
        (&times["min"], &times["max"]),
        (&json!("1998-01-01T00:00:00Z"), &json!("1998-01-30T00:00:00Z"))
    );
    assert_eq!(
        (&column("amount")["type"], &column("user_age")["nulls"].is_u64()),
        (&json!("float64"), &true)
    );
    let said = project.ok(&["manifest", "train.parquet"]);
    for part in ["column ", "distinct", "median", "user_age ", "1998-01-30T00:00:00Z"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
}

#[test]
fn a_partitioned_dataset_has_the_content_of_the_same_rows_in_one_file() {
    let project = shop();
    write_many_entities(&project, 3_000);
    let expected = train(&project, &["--entities", "entities.parquet"]);
    let by = ["--partition-by", "customer_id"];
    let common =
        ["training-set", "--service", "churn", "--entities", "entities.parquet", "-o", "train"];
    let make = |more: &[&str]| project.json(&[&common[..], more].concat());
    let made = make(&by);
    assert_eq!(made["content_hash"], expected["content_hash"]);
    let found = project.json(&["manifest", "train"]);
    assert_eq!(
        (&found["request"]["partition_by"], &found["rows"]),
        (&json!(["customer_id"]), &json!(3_000))
    );
    assert!(project.ok(&["replay", "train"]).contains("train: identical"));
    // Whoever reads Hive's layout finds the rows, and nothing else.
    let script = "import pyarrow.dataset as d; t = d.dataset('train', partitioning='hive').to_table(); \
                  print(t.num_rows, sorted(set(t['customer_id'].to_pylist())))";
    let read = std::process::Command::new(crate::support::python())
        .args(["-c", script])
        .current_dir(project.path("."))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "3000 [0, 1, 2, 3]\n", "{read:?}");

    // Rows that would change are counted in the folder as they are in a file.
    let definitions = crate::shop::DEFINITIONS.replace("ttl = \"10d\"", "ttl = \"2d\"");
    project.write("features/shop.toml", &definitions);
    project.ok(&["apply"]);
    let changed = |file: &str| {
        let output = project.run(&["audit", "training-set", file, "--json"]);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["columns"].clone()
    };
    assert_eq!(changed("train"), changed("train.parquet"));

    assert_eq!(make(&[&by[..], &["--limit", "3"]].concat())["rows"], 3);
    let said = project.fails(2, &[&common[..], &["--partition-by", "user_age"]].concat());
    let expect = "train was not written: cannot partition by \"user_age\": its type is float64";
    assert!(said.contains(expect), "{said}");
    let mut other = common;
    other[6] = "features";
    let said = project.fails(2, &[&other[..], &by].concat());
    assert!(
        said.contains(
            "features was not written: it is there already, and is no partitioned dataset"
        ),
        "{said}"
    );
    assert_eq!(project.json(&["manifest", "train"])["rows"], 3);
}
