//! Frames on a connection: a number in eight bytes, a length in four, and the message.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest message, in bytes.
pub const MOST: usize = 1 << 20;

/// A message. The number of an answer is that of its request; its first byte says whether it is one (0) or that there is none (1).
pub struct Frame {
    pub number: u64,
    pub message: Bytes,
}

pub async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    let mut head = [0; 12];
    head[..8].copy_from_slice(&frame.number.to_be_bytes());
    head[8..].copy_from_slice(&(frame.message.len() as u32).to_be_bytes());
    stream.write_all(&head).await?;
    stream.write_all(&frame.message).await
}

/// The next frame. Not to be dropped half-way.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let number = stream.read_u64().await?;
    let length = stream.read_u32().await?;
    if length as usize > MOST + 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is announced that is too long"));
    }
    // Memory comes with the bytes, not with what is announced.
    let mut message = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut message).await?;
    match message.len() == length as usize {
        true => Ok(Frame { number, message: message.into() }),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
