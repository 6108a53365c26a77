//! Transports whose addresses are paths: `{tmp}` in them stands for a directory that lasts as long as the transport.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eidetica_contract::{
    Address, CallOptions, Channel, Registry, Result, Service, Transport, TransportBuilder, TransportContext,
    TransportInfo,
};
use tempfile::TempDir;

use crate::subject::{fill, new_directory};

/// Builders of one scheme and one text, in which `{tmp}` is the same new directory for all of them.
pub(crate) fn builders<const N: usize>(scheme: &str, text: &str) -> Result<[Box<dyn TransportBuilder>; N]> {
    let registry = Registry::linked()?;
    let scheme = registry.transport(scheme)?;
    let directory = if text.contains("{tmp}") { Some(Arc::new(new_directory()?)) } else { None };
    let text = directory.as_ref().map_or_else(|| text.to_owned(), |directory| fill(text, directory));
    let mut made = Vec::with_capacity(N);
    for _ in 0..N {
        let inner = scheme.builder(&text)?;
        made.push(match &directory {
            Some(directory) => Box::new(PlacedBuilder { inner, directory: directory.clone() }),
            None => inner,
        });
    }
    Ok(made.try_into().unwrap_or_else(|_| unreachable!("as many were made as were asked for")))
}

struct PlacedBuilder {
    inner: Box<dyn TransportBuilder>,
    directory: Arc<TempDir>,
}

#[async_trait]
impl TransportBuilder for PlacedBuilder {
    fn wants_device_secret(&self) -> bool {
        self.inner.wants_device_secret()
    }

    async fn build(self: Box<Self>, context: TransportContext) -> Result<Box<dyn Transport>> {
        let inner = self.inner.build(context).await?;
        Ok(Box::new(Placed { inner, _directory: self.directory }))
    }
}

/// A transport, and behind it, so that it goes later, its directory.
struct Placed {
    inner: Box<dyn Transport>,
    _directory: Arc<TempDir>,
}

#[async_trait]
impl Transport for Placed {
    fn info(&self) -> TransportInfo {
        self.inner.info()
    }

    fn addresses(&self) -> Vec<Address> {
        self.inner.addresses()
    }

    async fn dial(&self, address: &Address, options: CallOptions) -> Result<Box<dyn Channel>> {
        self.inner.dial(address, options).await
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
