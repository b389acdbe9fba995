//! A project whose views live in two stores, one of which is a Redis with a password.

use std::process::Output;

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
             password_env = \"NEAR_PASSWORD\"\nwrite_timeout = \"200ms\"\n",
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
