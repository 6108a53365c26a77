//! Sockets on which anything may be said.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// A connection, and what was heard on it and not looked at yet.
pub struct Raw {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Raw {
    /// From an address of the loopback network, which counts as an origin of its own. `None` if nobody takes it.
    pub async fn from(last: u8, server: SocketAddr) -> Option<Raw> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        let stream = timeout(Duration::from_secs(5), socket.connect(server)).await.ok()?.ok()?;
        // Nothing is left in the way of the next test.
        stream.set_zero_linger().ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Raw { stream, heard: Vec::new() })
    }

    /// Whether it was taken off our hands.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        matches!(timeout(Duration::from_secs(5), self.stream.write_all(bytes.as_ref())).await, Ok(Ok(())))
    }

    /// Everything that comes within a while, or until the other side ends it.
    pub async fn rest(&mut self, patience: Duration) -> String {
        let _ = timeout(patience, async {
            while matches!(self.stream.read_buf(&mut self.heard).await, Ok(read) if read > 0) {}
        })
        .await;
        String::from_utf8_lossy(&std::mem::take(&mut self.heard)).into_owned()
    }

    /// Whether the other side has ended it by now.
    pub async fn ended(&mut self) -> bool {
        let mut some = [0; 64];
        matches!(timeout(Duration::from_millis(20), self.stream.read(&mut some)).await, Ok(Ok(0) | Err(_)))
    }

    /// Posts a message, and gives the body of the answer. `None` if there is no answer, or one that is no message.
    pub async fn post(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if !self.say(head(message.len())).await || !self.say(message).await {
            return None;
        }
        timeout(Duration::from_secs(30), self.answer()).await.ok()?
    }

    async fn answer(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(at) = self.heard.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.heard[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        let length: usize = length.trim().parse().ok()?;
        while self.heard.len() < end + length {
            self.more().await?;
        }
        let rest = self.heard.split_off(end + length);
        let body = std::mem::replace(&mut self.heard, rest).split_off(end);
        head.starts_with("http/1.1 200").then_some(body)
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.heard).await.ok()?;
        (read > 0).then_some(())
    }
}

/// The head of a message with a body of this length.
pub fn head(length: impl std::fmt::Display) -> String {
    format!("{START}content-length: {length}\r\n\r\n")
}

/// The head of a message whose length is not said.
pub fn endless() -> String {
    format!("{START}transfer-encoding: chunked\r\n\r\n")
}

const START: &str = "POST /eidetica/v1 HTTP/1.1\r\nhost: peer\r\ncontent-type: application/octet-stream\r\n";

/// Bytes that mean nothing, the same ones for the same number.
pub fn garbage(number: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
