//! A server that speaks S3, for tests: moto, out of the Python environment of the tests.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::python;

/// A server; it stops when this is dropped.
pub struct S3 {
    child: Child,
    /// Where it listens.
    pub endpoint: String,
}

impl S3 {
    /// A server with an empty bucket `lake`.
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(python())
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, endpoint: format!("http://127.0.0.1:{port}") };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "moto did not start");
            thread::sleep(Duration::from_millis(50));
        }
        server.put("lake", None);
        server
    }

    /// Puts a file into the bucket.
    pub fn upload(&self, key: &str, file: &Path) {
        self.put(&format!("lake/{key}"), Some(std::fs::read(file).unwrap()));
    }

    fn put(&self, path: &str, body: Option<Vec<u8>>) {
        let url = format!("{}/{path}", self.endpoint);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sent = runtime.block_on(async move {
            // Moto takes any signature; which service is meant is in its scope.
            let scope = "AWS4-HMAC-SHA256 Credential=test/20240101/us-east-1/s3/aws4_request, \
                         SignedHeaders=host, Signature=0";
            let request = reqwest::Client::new().put(url).header("authorization", scope);
            request.body(body.unwrap_or_default()).send().await.unwrap()
        });
        assert!(sent.status().is_success(), "{sent:?}");
    }

    /// What `unskew.toml` says of it.
    pub fn settings(&self) -> String {
        format!(
            "[storage.\"s3://lake\"]\nendpoint = \"{}\"\nallow_http = true\nretries = 2\n\
             access_key_id_env = \"LAKE_KEY\"\nsecret_access_key_env = \"LAKE_SECRET\"\n",
            self.endpoint
        )
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
