//! A message on a stream: its length, itself, and the end.

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{ReadError, ReadExactError, RecvStream, SendStream, VarInt, WriteError};

use crate::codes::ABANDONED;

/// How much is read at once, at most.
const PIECE: usize = 256 << 10;

/// A stream to send on, which is reset when it is dropped before its end: a message that was cut off must not look like a whole
/// one.
pub(crate) struct Sending {
    stream: SendStream,
    ended: bool,
}

impl Sending {
    pub(crate) fn new(stream: SendStream) -> Sending {
        Sending { stream, ended: false }
    }

    /// Sends a message and the end of the stream. On return all of it is on its way.
    pub(crate) async fn send(&mut self, message: Bytes) -> Result<(), WriteError> {
        let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.stream.write_all_chunks(&mut [Bytes::copy_from_slice(&len.to_be_bytes()), message]).await?;
        self.stream.finish()?;
        self.ended = true;
        Ok(())
    }

    /// Ends the stream without a message.
    pub(crate) fn reset(&mut self, code: VarInt) {
        self.ended = true;
        let _ = self.stream.reset(code);
    }

    /// Waits until the other side has all that was sent, or does not want it any more, or is gone. True for the first.
    pub(crate) fn read_or_gone(&self) -> impl Future<Output = bool> + Send + use<> {
        let stopped = self.stream.stopped();
        async move { matches!(stopped.await, Ok(None)) }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.ended {
            self.reset(ABANDONED);
        }
    }
}

/// Why no message could be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is larger than it may be.
    TooLarge,
    /// Its end came too early or too late.
    Broken,
    /// The stream was reset, or the connection lost.
    Lost(ReadError),
}

impl From<ReadError> for Unread {
    fn from(error: ReadError) -> Unread {
        Unread::Lost(error)
    }
}

/// The announced length of a message.
pub(crate) async fn length(stream: &mut RecvStream, limit: usize) -> Result<usize, Unread> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(|error| match error {
        ReadExactError::FinishedEarly(_) => Unread::Broken,
        ReadExactError::ReadError(error) => Unread::Lost(error),
    })?;
    let len = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if len > limit { Err(Unread::TooLarge) } else { Ok(len) }
}

/// The rest of a message of this length. What is not there yet costs nothing, whatever was announced.
pub(crate) async fn rest(stream: &mut RecvStream, len: usize) -> Result<Bytes, Unread> {
    let mut read = BytesMut::new();
    while let Some(piece) = stream.read_chunk(PIECE).await? {
        if piece.len() > len - read.len() {
            return Err(Unread::Broken);
        }
        if read.is_empty() && piece.len() == len {
            return match stream.read_chunk(1).await? {
                None => Ok(piece),
                Some(_) => Err(Unread::Broken),
            };
        }
        read.extend_from_slice(&piece);
    }
    if read.len() == len { Ok(read.freeze()) } else { Err(Unread::Broken) }
}
