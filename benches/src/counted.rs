//! A transport that counts what goes over another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica::Result;
use eidetica::sync::{
    Address, CallOptions, Channel, Service, Transport, TransportBuilder, TransportContext, TransportInfo,
};

/// What has gone over channels that were dialled here: requests, their bytes, and those of the answers.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<[AtomicU64; 3]>);

impl Counts {
    /// Requests, bytes out, bytes in, since the last time.
    pub fn take(&self) -> [u64; 3] {
        [0, 1, 2].map(|place| self.0[place].swap(0, Ordering::Relaxed))
    }

    fn add(&self, place: usize, count: usize) {
        self.0[place].fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Builds a transport and counts.
pub struct Counted<B>(pub B, pub Counts);

#[async_trait]
impl<B: TransportBuilder> TransportBuilder for Counted<B> {
    fn wants_device_secret(&self) -> bool {
        self.0.wants_device_secret()
    }

    async fn build(self: Box<Self>, context: TransportContext) -> Result<Box<dyn Transport>> {
        let Counted(builder, counts) = *self;
        Ok(Box::new(Counting { transport: Box::new(builder).build(context).await?, counts }))
    }
}

struct Counting {
    transport: Box<dyn Transport>,
    counts: Counts,
}

#[async_trait]
impl Transport for Counting {
    fn info(&self) -> TransportInfo {
        self.transport.info()
    }

    fn addresses(&self) -> Vec<Address> {
        self.transport.addresses()
    }

    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>> {
        let channel = self.transport.dial(address, options).await?;
        Ok(Box::new(CountingChannel { channel, counts: self.counts.clone() }))
    }

    async fn listen(&self, service: Arc<dyn Service>) -> Result<()> {
        self.transport.listen(service).await
    }

    async fn stop_listening(&self, grace: std::time::Duration) -> Result<()> {
        self.transport.stop_listening(grace).await
    }

    async fn close(&self) -> Result<()> {
        self.transport.close().await
    }
}

struct CountingChannel {
    channel: Box<dyn Channel>,
    counts: Counts,
}

#[async_trait]
impl Channel for CountingChannel {
    async fn request(&self, message: Bytes, options: CallOptions) -> Result<Bytes> {
        self.counts.add(0, 1);
        self.counts.add(1, message.len());
        let answer = self.channel.request(message, options).await?;
        self.counts.add(2, answer.len());
        Ok(answer)
    }

    fn peer(&self) -> Option<eidetica::PublicKey> {
        self.channel.peer()
    }
}
