//! A server that speaks S3, for tests: moto, out of the Python environment of the tests.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{block_on, python};

/// Moto takes any signature; which service is meant is in its scope.
const SCOPE: &str = "AWS4-HMAC-SHA256 Credential=test/20240101/us-east-1/s3/aws4_request, \
                     SignedHeaders=host, Signature=0";

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

    /// The text of an object in the bucket.
    pub fn get(&self, key: &str) -> String {
        let url = format!("{}/lake/{key}", self.endpoint);
        block_on(async move {
            let request = reqwest::Client::new().get(url).header("authorization", SCOPE);
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{answer:?}");
            answer.text().await.unwrap()
        })
    }

    fn put(&self, path: &str, body: Option<Vec<u8>>) {
        let url = format!("{}/{path}", self.endpoint);
        let sent = block_on(async move {
            let request = reqwest::Client::new().put(url).header("authorization", SCOPE);
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

/// A server that answers every request by its method alone, with a status and a body.
pub fn answering(answer: fn(&str) -> (&'static str, &'static str)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let (status, body) = answer(request.split(' ').next().unwrap_or(""));
            let head = format!("HTTP/1.1 {status}\r\netag: \"x\"\r\nconnection: close");
            let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
