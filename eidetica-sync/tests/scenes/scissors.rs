//! A transport whose connection breaks at a certain request.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, CallOptions, Channel, Error, ErrorKind, PublicKey, Result, Service, Transport, TransportBuilder,
    TransportContext, TransportInfo,
};

/// Says which request breaks. All clones say the same.
#[derive(Clone, Default)]
pub struct Scissors(Arc<State>);

#[derive(Default)]
struct State {
    /// How many requests are left until then; below zero: none breaks.
    left: AtomicI64,
    sent: AtomicI64,
}

impl Scissors {
    /// The request after so many more breaks: after it was answered, so that the answer is lost.
    pub fn cut_after(&self, requests: i64) {
        self.0.left.store(requests + 1, Ordering::SeqCst);
    }

    /// How many requests were sent.
    pub fn sent(&self) -> i64 {
        self.0.sent.load(Ordering::SeqCst)
    }

    pub fn around<T: Transport>(&self, transport: T) -> Cut<T> {
        Cut { inner: transport, scissors: self.clone() }
    }

    fn cuts(&self) -> bool {
        self.0.sent.fetch_add(1, Ordering::SeqCst);
        self.0.left.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

pub struct Cut<T> {
    inner: T,
    scissors: Scissors,
}

#[async_trait]
impl<T: Transport> TransportBuilder for Cut<T> {
    async fn build(self: Box<Self>, _: TransportContext) -> Result<Box<dyn Transport>> {
        Ok(self)
    }
}

#[async_trait]
impl<T: Transport> Transport for Cut<T> {
    fn info(&self) -> TransportInfo {
        self.inner.info()
    }

    fn addresses(&self) -> Vec<Address> {
        self.inner.addresses()
    }

    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>> {
        let channel = self.inner.dial(address, options).await?;
        Ok(Box::new(CutChannel { inner: channel, scissors: self.scissors.clone() }))
    }

    async fn listen(&self, service: Arc<dyn Service>) -> Result<()> {
        self.inner.listen(service).await
    }

    async fn stop_listening(&self, grace: Duration) -> Result<()> {
        self.inner.stop_listening(grace).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

struct CutChannel {
    inner: Box<dyn Channel>,
    scissors: Scissors,
}

#[async_trait]
impl Channel for CutChannel {
    async fn request(&self, message: Bytes, options: CallOptions) -> Result<Bytes> {
        let cuts = self.scissors.cuts();
        let answer = self.inner.request(message, options).await?;
        if cuts {
            return Err(Error::new(ErrorKind::Unreachable, "the connection has broken"));
        }
        Ok(answer)
    }

    fn peer(&self) -> Option<PublicKey> {
        self.inner.peer()
    }
}
