//! What is certified: factories of stores and of transports.

use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, Backend, Error, ErrorKind, PublicKey, Registry, Result, Transport, TransportBuilder, TransportContext,
    TransportState,
};
use eidetica_core::SecretKey;
use tempfile::TempDir;

use crate::placed;

/// A backend to certify.
#[async_trait]
pub trait BackendSubject: Send + Sync + 'static {
    /// How it is called in reports.
    fn name(&self) -> String;

    /// A place for a new store, which nobody else uses. What it takes is freed when the place is dropped.
    async fn fresh(&self) -> Result<Box<dyn Place>>;
}

/// Where one store lies.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens the store: an empty one at first, later on what it holds.
    async fn open(&self) -> Result<Box<dyn Backend>>;

    /// What [another process](crate::process) is told so that it opens this store, such as its URL. Default: `None`, nothing would help;
    /// then the cases with processes do not run.
    fn elsewhere(&self) -> Option<String> {
        None
    }

    /// Where in the file system the store lies, in a directory that holds nothing else of worth: the cases of opening put a file of another kind there, and take
    /// the directory away. Default: `None`, and then these cases do not run.
    fn path(&self) -> Option<PathBuf> {
        None
    }
}

/// A transport to certify.
#[async_trait]
pub trait TransportSubject: Send + Sync + 'static {
    /// How it is called in reports.
    fn name(&self) -> String;

    /// A builder of a transport that can listen, at an address of its own.
    fn listening(&self) -> Result<Box<dyn TransportBuilder>>;

    /// A builder of a transport that only dials.
    fn dialling(&self) -> Result<Box<dyn TransportBuilder>>;

    /// Two builders of transports that listen at one place, one after the other: at a port that both name, say. By default `None`, and then the
    /// case does not run in which somebody else has come to the place of a device.
    fn one_place(&self) -> Result<Option<[Box<dyn TransportBuilder>; 2]>> {
        Ok(None)
    }

    /// An address of this transport at which nobody listens.
    ///
    /// By default one at which somebody has listened until just now.
    async fn nowhere(&self) -> Result<Address> {
        listens(self.listening()?)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::Internal, "it listened, and had no address"))
    }
}

/// A backend that is opened by URL. `{tmp}` in it stands for a new directory.
pub struct UrlBackend(String);

/// A transport by its scheme and the address to bind, with a colon between them. `{tmp}` in it stands for a new directory.
pub struct UrlTransport(String);

impl UrlBackend {
    /// From a URL such as `redb:{tmp}/store.redb`, of a scheme that is linked.
    pub fn new(url: impl Into<String>) -> UrlBackend {
        UrlBackend(url.into())
    }
}

#[async_trait]
impl BackendSubject for UrlBackend {
    fn name(&self) -> String {
        self.0.clone()
    }

    async fn fresh(&self) -> Result<Box<dyn Place>> {
        let directory = new_directory()?;
        let url = fill(&self.0, &directory);
        // As most backends read it: a path, and settings behind a question mark.
        let rest = self.0.split_once(':').map_or("", |(_, rest)| rest);
        let name = rest.split('?').next().and_then(|rest| rest.strip_prefix("{tmp}/"));
        let path = name.filter(|name| !name.is_empty()).map(|name| directory.path().join(name));
        Ok(Box::new(UrlPlace { url, path, _directory: directory }))
    }
}

struct UrlPlace {
    url: String,
    path: Option<PathBuf>,
    _directory: TempDir,
}

/// A new directory, which goes when this is dropped.
pub(crate) fn new_directory() -> Result<TempDir> {
    let made = tempfile::Builder::new().prefix("eidetica-conformance-").tempdir();
    made.map_err(|error| Error::new(ErrorKind::Io, "no directory can be made").caused_by(error))
}

/// What a text says with this directory.
pub(crate) fn fill(text: &str, directory: &TempDir) -> String {
    text.replace("{tmp}", &directory.path().to_string_lossy())
}

#[async_trait]
impl Place for UrlPlace {
    async fn open(&self) -> Result<Box<dyn Backend>> {
        Registry::linked()?.open_backend(&self.url).await
    }

    fn elsewhere(&self) -> Option<String> {
        Some(self.url.clone())
    }

    fn path(&self) -> Option<PathBuf> {
        self.path.clone()
    }
}

impl UrlTransport {
    /// From scheme and address, such as `http:127.0.0.1:0`, of a scheme that is linked.
    pub fn new(url: impl Into<String>) -> UrlTransport {
        UrlTransport(url.into())
    }

    fn parts(&self) -> Result<(&str, &str)> {
        self.0.split_once(':').ok_or_else(|| {
            let message = "a transport is named by scheme and address, such as `http:127.0.0.1:0`";
            Error::new(ErrorKind::InvalidInput, message).with("transport", &self.0)
        })
    }

    /// A builder for the address; for dialling alone without one, and with the settings behind a question mark.
    fn builder(&self, listens: bool) -> Result<Box<dyn TransportBuilder>> {
        let (scheme, bind) = self.parts()?;
        let settings = bind.find('?').map_or("", |at| &bind[at..]);
        let [builder] = placed::builders(scheme, if listens { bind } else { settings })?;
        Ok(builder)
    }
}

#[async_trait]
impl TransportSubject for UrlTransport {
    fn name(&self) -> String {
        self.0.clone()
    }

    fn listening(&self) -> Result<Box<dyn TransportBuilder>> {
        self.builder(true)
    }

    fn dialling(&self) -> Result<Box<dyn TransportBuilder>> {
        self.builder(false)
    }

    /// Where the address leaves the port to the system, one that is free; where it is a path, that.
    fn one_place(&self) -> Result<Option<[Box<dyn TransportBuilder>; 2]>> {
        let (scheme, bind) = self.parts()?;
        let (address, settings) = bind.split_at(bind.find('?').unwrap_or(bind.len()));
        if address.contains("{tmp}/") && !address.ends_with('/') {
            return placed::builders(scheme, bind).map(Some);
        }
        let (Some(host), Some(port)) = (address.strip_suffix(":0"), free_port()) else { return Ok(None) };
        let registry = Registry::linked()?;
        let scheme = registry.transport(scheme)?;
        let builder = || scheme.builder(&format!("{host}:{port}{settings}"));
        Ok(Some([builder()?, builder()?]))
    }
}

/// One that is free for whatever listens at it.
fn free_port() -> Option<u16> {
    (0..16).find_map(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").ok()?;
        let address = listener.local_addr().ok()?;
        UdpSocket::bind(address).ok().map(|_| address.port())
    })
}

/// What a transport is given that says it is this device: the secret only if it asks for it.
pub(crate) fn context(device: PublicKey, secret: Option<&SecretKey>) -> TransportContext {
    let context = TransportContext::new(device, Arc::new(Kept::default()));
    match secret {
        Some(secret) => context.with_secret(*secret.seed()),
        None => context,
    }
}

/// A state that lasts as long as the transport.
#[derive(Default)]
struct Kept(Mutex<Option<Bytes>>);

#[async_trait]
impl TransportState for Kept {
    async fn load(&self) -> Result<Option<Bytes>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn save(&self, state: Bytes) -> Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
        Ok(())
    }
}

/// Answers nothing of use.
struct Silent;

#[async_trait]
impl eidetica_contract::Service for Silent {
    async fn handle(&self, _: eidetica_contract::Caller, _: Bytes) -> Result<Bytes> {
        Ok(Bytes::new())
    }
}

/// Listens once, and says at which address.
pub(crate) async fn listens(builder: Box<dyn TransportBuilder>) -> Result<Option<Address>> {
    let transport = build(builder, &SecretKey::from_seed(&[9; 32])).await?;
    let listening = transport.listen(Arc::new(Silent)).await;
    let address = transport.addresses().into_iter().next();
    transport.close().await?;
    listening.map(|()| address)
}

/// Builds a transport of this device.
pub(crate) async fn build(builder: Box<dyn TransportBuilder>, device: &SecretKey) -> Result<Box<dyn Transport>> {
    let secret = builder.wants_device_secret().then_some(device);
    builder.build(context(device.public(), secret)).await
}
