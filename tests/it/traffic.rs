//! Many callers at a time: who may ask how often, and what happens when it is too much.

use serde_json::json;

use crate::{
    shop::shop,
    support::{Project, Server, block_on},
};

const NAME: &str = "[project]\nname = \"probe\"\n";

fn serving(settings: &str, environment: &[(&str, &str)]) -> (Project, Server) {
    let project = shop();
    project.write("unskew.toml", &format!("{NAME}{settings}"));
    project.ok(&["materialize"]);
    let server = project.serve_with(environment);
    (project, server)
}

fn amounts(rows: usize) -> String {
    let ids: Vec<usize> = (0..rows).map(|row| 1 + row % 2).collect();
    json!({"features": ["orders:amount"], "entities": {"customer_id": ids}, "event_time": "1998-01-08"})
        .to_string()
}

/// Asks with a key; gives the status and `Retry-After`.
fn ask(server: &Server, key: Option<&str>) -> (u16, String) {
    let url = format!("{}/get-online-features", server.url);
    let mut request = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/json")
        .body(amounts(1));
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let response = block_on(request.send()).unwrap();
    let after = response.headers().get("retry-after");
    let after = after.map_or("", |value| value.to_str().unwrap()).to_owned();
    (response.status().as_u16(), after)
}

#[test]
fn consumers_have_keys_and_rates() {
    let (_project, server) = serving(
        "[server]\nanonymous = false\n[server.consumers.ranking]\nkey_env = \"RANKING_KEY\"\n\
         rate = { requests_per_second = 1, burst = 2 }\n\
         [server.consumers.pricing]\nkey_env = \"PRICING_KEY\"\n",
        &[("RANKING_KEY", "one"), ("PRICING_KEY", "two")],
    );
    let refused = |status, after: &str| (status, after.to_owned());
    assert_eq!(ask(&server, None), refused(401, ""));
    assert_eq!(ask(&server, Some("three")), refused(401, ""));
    assert_eq!(ask(&server, Some("one")).0, 200);
    assert_eq!(ask(&server, Some("one")).0, 200);
    assert_eq!(ask(&server, Some("one")), refused(429, "1"));
    assert_eq!(ask(&server, Some("two")).0, 200, "the others are not slowed down");
    assert_eq!((server.get("/fingerprints").0, server.get("/nowhere").0), (401, 401));
    assert_eq!((server.get("/health").0, server.get("/ready").0), (200, 200));
    let (_, metrics) = server.get("/metrics");
    for line in [
        "unskew_requests_total{consumer=\"ranking\",route=\"/get-online-features\",status=\"200\"} 2",
        "unskew_requests_total{consumer=\"pricing\",route=\"/get-online-features\",status=\"200\"} 1",
        "unskew_requests_total{consumer=\"other\",route=\"/get-online-features\",status=\"401\"} 2",
        "unskew_requests_total{consumer=\"ranking\",route=\"/get-online-features\",status=\"429\"} 1",
        "unskew_request_seconds_count{consumer=\"ranking\",route=\"/get-online-features\"} 3",
        "unskew_view_seconds_count{view=\"orders\"} 3",
        "unskew_stage_seconds_count{stage=\"queue\"} 3",
        "unskew_stage_seconds_count{stage=\"store\"} 3",
        "unskew_stage_seconds_count{stage=\"write\"} 3",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn a_consumer_without_a_key_is_told_before_anything_is_served() {
    let project = shop();
    let settings = "[server.consumers.ranking]\nkey_env = \"NO_SUCH_KEY\"\n";
    project.write("unskew.toml", &format!("{NAME}{settings}"));
    let said = project.fails(2, &["serve", "--listen", "127.0.0.1:0"]);
    for part in ["server.consumers.ranking has no key", "NO_SUCH_KEY"] {
        assert!(said.contains(part), "{said}");
    }
    let output = project.run(&["serve", "--check", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("ranking has no key"));
}

#[test]
fn a_view_has_a_rate_of_its_own() {
    let (_project, server) =
        serving("[server.view_rates]\norders = { requests_per_second = 1 }\n", &[]);
    assert_eq!(ask(&server, None).0, 200);
    assert_eq!(ask(&server, None), (429, "1".to_owned()));
}

#[test]
fn too_much_at_a_time_is_sent_away_and_the_rest_is_answered() {
    let (_project, server) =
        serving("[server]\nmax_concurrency = 1\nmax_queue = 2\nqueue_timeout = \"20ms\"\n", &[]);
    let (url, body) = (format!("{}/get-online-features", server.url), amounts(10_000));
    let mut seen = block_on(async {
        let client = reqwest::Client::new();
        let asked = (0..40).map(|_| {
            let request = client.post(&url).header("content-type", "application/json");
            let request = request.body(body.clone()).send();
            async {
                let response = request.await.unwrap();
                let after = response.headers().contains_key("retry-after");
                (response.status().as_u16(), after)
            }
        });
        futures::future::join_all(asked).await
    });
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [(200, false), (503, true)]);
    assert_eq!(ask(&server, None).0, 200);
}
