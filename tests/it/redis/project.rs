//! Projects whose views live in Redis.

use std::process::Output;

use redis::cmd;

use super::servers::{PLAIN, Server};
use crate::{shop::write_orders, support::Project};

const VIEWS: &str = r#"
[entity.customer]
join_keys = { customer_id = "int64" }

[source.orders]
path = "orders.parquet"
timestamp = "ordered_at"

[feature_view.here]
entities = ["customer"]
source = "orders"
features = { amount = "float64" }

[feature_view.there]
entities = ["customer"]
source = "orders"
store = "near"
features = { total = { type = "float64", column = "amount" } }
"#;

fn run(project: &Project, password: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = project.command(arguments);
    command.env_remove("NEAR_PASSWORD");
    command.envs(password.map(|password| ("NEAR_PASSWORD", password))).output().unwrap()
}

#[test]
fn a_store_that_fails_fails_its_views_alone() {
    let mut server = Server::start(&[PLAIN, &["--requirepass", "opensesame"]].concat());
    let project = Project::new();
    project.write(
        "unskew.toml",
        &format!(
            "[project]\nname = \"probe\"\n[stores.near]\nurl = \"{}\"\n\
             password_env = \"NEAR_PASSWORD\"\nwrite_timeout = \"600ms\"\n",
            server.url()
        ),
    );
    write_orders(&project, &[1, 1, 2], &[0, 5, 5], &[1.5, 2.5, 3.5]);
    project.write("features/shop.toml", VIEWS);
    project.ok(&["apply"]);
    let check = |password: Option<&str>, arguments: &[&str], code: i32, says: &str| {
        let output = run(&project, password, arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2") && !said.contains("opensesame"), "{said}");
    };
    let get = |feature: &'static str| ["get", "--features", feature, "--entity", "customer_id=1"];
    let right = Some("opensesame");
    check(None, &["materialize"], 2, "the environment variable NEAR_PASSWORD is not set");
    check(Some("hunter2"), &["materialize", "there"], 2, &server.url());
    check(right, &["materialize"], 0, "there: 2 entities, 2 written");
    check(right, &get("here:amount"), 0, "2.5");
    check(right, &get("there:total"), 0, "2.5");
    check(right, &get("here:amount,there:total"), 0, "2.5");
    server.kill();
    check(right, &get("here:amount"), 0, "2.5");
    check(right, &["materialize", "here"], 0, "here: 2 entities, 0 written");
    check(right, &get("there:total"), 2, &server.url());
    check(right, &["materialize", "there"], 2, &server.url());
}

/// What is stored of an entity but for the marks of ledgers, which no ttl touches, leaves.
fn expire(server: &Server) {
    let mut connection = server.connect();
    let keys: Vec<Vec<u8>> = cmd("KEYS").arg("*").query(&mut connection).unwrap();
    let mut left = 0;
    for key in keys {
        let at: i64 = cmd("PTTL").arg(&key).query(&mut connection).unwrap();
        if at > 0 {
            left += 1;
            cmd("DEL").arg(key).exec(&mut connection).unwrap();
        }
    }
    assert_eq!(left, 2);
}

#[test]
fn rows_that_left_under_a_shorter_ttl_come_back() {
    let (project, server) = (Project::new(), Server::start(PLAIN));
    let online = format!("[project]\nname = \"probe\"\n[online]\nurl = \"{}\"\n", server.url());
    project.write("unskew.toml", &online);
    write_orders(&project, &[1, 1, 2], &[0, 5, 5], &[1.5, 2.5, 3.5]);
    let views = VIEWS.split("[feature_view.there]").next().unwrap();
    let check = |ttl: &str, reads: u64, why: &str| {
        project.write("features/shop.toml", &format!("{views}\n{ttl}\n"));
        project.ok(&["apply"]);
        let planned = project.json(&["materialize", "--incremental", "--dry-run"]);
        assert_eq!(planned["files"].as_array().unwrap().len() as u64, reads, "{ttl}: {planned}");
        assert_eq!(planned["files"][0]["why"].as_str().unwrap_or_default(), why, "{ttl}");
        let run = project.json(&["materialize", "--incremental"]);
        assert_eq!(run["written"]["rows"], 2 * reads, "{ttl}: {run}");
        let again = project.json(&["materialize", "--incremental"]);
        assert_eq!(again["files"], 0, "{ttl}: {again}");
        let at = ["--event-time", "1998-01-07"];
        let get =
            [&["get", "--features", "here:amount", "--entity", "customer_id=1"][..], &at].concat();
        assert_eq!(project.json(&get)["results"][1]["values"][0], 2.5, "{ttl}");
    };
    check("ttl = \"10d\"", 1, "definition");
    expire(&server);
    check("ttl = \"11d\"", 1, "ttl");
    check("ttl = \"5d\"", 0, "");
    expire(&server);
    check("ttl = \"6d\"", 1, "ttl");
    expire(&server);
    check("", 1, "ttl");
    check("ttl = \"5d\"", 0, "");
}
