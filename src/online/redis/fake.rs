//! Servers that answer what a test tells them to.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    answer::{self, Answer},
    options::Address,
};

/// A server to be. Nobody accepts its connections, though the kernel lets everybody in.
pub(super) struct Fake {
    pub(super) address: Address,
    listener: TcpListener,
}

impl Fake {
    pub(super) async fn bind() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { address: Address { host: "127.0.0.1".to_owned(), port }, listener }
    }

    /// Answers every command, given as its words, until the test ends.
    pub(super) fn serve(self, answer: impl Fn(&[&str]) -> String + Send + Sync + 'static) {
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = self.listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&answer)));
            }
        });
    }
}

async fn converse(mut stream: TcpStream, answer: Arc<impl Fn(&[&str]) -> String>) {
    let mut received = BytesMut::new();
    while stream.read_buf(&mut received).await.is_ok_and(|read| read > 0) {
        while let Ok(Some(length)) = answer::length(&received) {
            let command = received.split_to(length).freeze();
            let command = answer::parse(&command, 1).unwrap();
            let [Answer::Array(words)] = command.as_slice() else { panic!("{command:?}") };
            let words: Vec<&str> = words.iter().map(word).collect();
            let said = answer(&words);
            if stream.write_all(said.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn word(answer: &Answer) -> &str {
    match answer {
        Answer::Text(word) => str::from_utf8(word).unwrap(),
        other => panic!("no word of a command: {other:?}"),
    }
}

/// A text, as an answer.
pub(super) fn text(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}
