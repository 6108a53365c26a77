//! Which backends and transports there are, by scheme.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Backend, Capabilities, Error, ErrorKind, Result, TransportBuilder};

/// What opening a backend returns.
pub type OpenFuture = Pin<Box<dyn Future<Output = Result<Box<dyn Backend>>> + Send>>;

/// A backend that can be opened by URL.
///
/// # Registration
///
/// A crate that offers one submits it, through the `inventory` that this crate re-exports, so that both mean the same one.
/// Linking the crate is then enough. But a linker drops a crate that nothing names: the program, or a crate that it uses,
/// says `use the_crate as _;` once. What is loaded while a program runs registers by hand instead, with
/// [`Registry::register_backend`] and a [`RegisteredBackend`], which owns its names.
///
/// ```
/// # use eidetica_contract::{BackendEntry, Error, ErrorKind};
/// eidetica_contract::inventory::submit! {
///     BackendEntry::new("null", concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")), |_rest| {
///         Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "keeps nothing")) })
///     })
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BackendEntry {
    /// What stands before the first colon of the URL.
    pub scheme: &'static str,
    /// The crate or file that offers it, for messages.
    pub origin: &'static str,
    /// Creates or opens the store.
    ///
    /// The argument is all that stands after the first colon of the URL, as it was written: it may be empty, hold further
    /// colons, slashes or spaces, and nothing in it is decoded. What it means is up to the backend.
    ///
    /// What holds for every way of opening stands at [`Backend`]. Errors: [`ErrorKind::InvalidInput`] for an argument that names nothing, or
    /// something that is no store of this backend; [`ErrorKind::NotFound`] if the place of the store does not exist; [`ErrorKind::NewerFormat`], leaving the store
    /// untouched; [`ErrorKind::Corrupted`]; [`ErrorKind::Locked`]; [`ErrorKind::PermissionDenied`], [`ErrorKind::ReadOnly`],
    /// [`ErrorKind::Full`], [`ErrorKind::Io`]. Cancellation: the store may or may not have been created.
    pub open: fn(rest: &str) -> OpenFuture,
    /// What its stores can do as a rule, for those who choose one. [`BackendInfo`](crate::BackendInfo) says it of a store
    /// that is open.
    pub capabilities: Capabilities,
}

impl BackendEntry {
    /// An entry.
    pub const fn new(scheme: &'static str, origin: &'static str, open: fn(&str) -> OpenFuture) -> BackendEntry {
        BackendEntry { scheme, origin, open, capabilities: Capabilities::none() }
    }

    /// Says what its stores can do.
    #[must_use]
    pub const fn with_capabilities(mut self, capabilities: Capabilities) -> BackendEntry {
        self.capabilities = capabilities;
        self
    }
}

/// A transport that can be built by name, with its settings as text. It is registered as a [`BackendEntry`] is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TransportEntry {
    /// The scheme of its addresses.
    pub scheme: &'static str,
    /// The crate or file that offers it, for messages.
    pub origin: &'static str,
    /// A builder; the argument is the address to bind, empty for dialling only. Behind a question mark may stand what else the
    /// transport takes, which is up to it.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] for what it does not take.
    pub builder: fn(bind: &str) -> Result<Box<dyn TransportBuilder>>,
}

impl TransportEntry {
    /// An entry.
    pub const fn new(
        scheme: &'static str,
        origin: &'static str,
        builder: fn(&str) -> Result<Box<dyn TransportBuilder>>,
    ) -> TransportEntry {
        TransportEntry { scheme, origin, builder }
    }
}

inventory::collect!(BackendEntry);
inventory::collect!(TransportEntry);

/// A backend that a registry knows, linked or loaded at run time.
#[derive(Clone)]
pub struct RegisteredBackend {
    scheme: Cow<'static, str>,
    origin: Cow<'static, str>,
    capabilities: Capabilities,
    open: Arc<dyn Fn(&str) -> OpenFuture + Send + Sync>,
}

/// A transport that a registry knows, linked or loaded at run time.
#[derive(Clone)]
pub struct RegisteredTransport {
    scheme: Cow<'static, str>,
    origin: Cow<'static, str>,
    builder: Arc<BuildFn>,
}

type BuildFn = dyn Fn(&str) -> Result<Box<dyn TransportBuilder>> + Send + Sync;

impl RegisteredBackend {
    /// A backend that is opened by a function, which may hold a library or a connection.
    pub fn new(
        scheme: impl Into<Cow<'static, str>>,
        origin: impl Into<Cow<'static, str>>,
        open: impl Fn(&str) -> OpenFuture + Send + Sync + 'static,
    ) -> RegisteredBackend {
        let capabilities = Capabilities::none();
        RegisteredBackend { scheme: scheme.into(), origin: origin.into(), capabilities, open: Arc::new(open) }
    }

    /// Says what its stores can do.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> RegisteredBackend {
        self.capabilities = capabilities;
        self
    }

    /// What its stores can do as a rule.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// What stands before the first colon of its URLs.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The crate or file that offers it.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl RegisteredTransport {
    /// A transport whose builder is made by a function, which may hold a library.
    pub fn new(
        scheme: impl Into<Cow<'static, str>>,
        origin: impl Into<Cow<'static, str>>,
        builder: impl Fn(&str) -> Result<Box<dyn TransportBuilder>> + Send + Sync + 'static,
    ) -> RegisteredTransport {
        RegisteredTransport { scheme: scheme.into(), origin: origin.into(), builder: Arc::new(builder) }
    }

    /// The scheme of its addresses.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The crate or file that offers it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A builder; the argument is the address to bind, empty for dialling only, and what else the transport takes
    /// ([`TransportEntry::builder`]).
    pub fn builder(&self, bind: &str) -> Result<Box<dyn TransportBuilder>> {
        (self.builder)(bind)
    }
}

impl From<BackendEntry> for RegisteredBackend {
    fn from(entry: BackendEntry) -> RegisteredBackend {
        RegisteredBackend::new(entry.scheme, entry.origin, entry.open).with_capabilities(entry.capabilities)
    }
}

impl From<TransportEntry> for RegisteredTransport {
    fn from(entry: TransportEntry) -> RegisteredTransport {
        RegisteredTransport::new(entry.scheme, entry.origin, entry.builder)
    }
}

impl fmt::Debug for RegisteredBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.scheme, self.origin)
    }
}

impl fmt::Debug for RegisteredTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.scheme, self.origin)
    }
}

/// The backends and transports that a process knows. A value: two registries do not see each other.
///
/// ```
/// use eidetica_contract::Registry;
///
/// // Backends and transports that are linked into a program register themselves.
/// let registry = Registry::linked()?;
/// for backend in registry.backends() {
///     println!("{}: from {}", backend.scheme(), backend.origin());
/// }
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Registry {
    backends: BTreeMap<String, RegisteredBackend>,
    transports: BTreeMap<String, RegisteredTransport>,
}

impl Registry {
    /// A registry that knows nothing.
    pub fn empty() -> Registry {
        Registry::default()
    }

    /// Everything that was linked into this program.
    ///
    /// Errors: [`ErrorKind::AlreadyExists`] if two crates offer the same scheme; both are named.
    pub fn linked() -> Result<Registry> {
        let mut registry = Registry::empty();
        for entry in inventory::iter::<BackendEntry> {
            registry.register_backend(*entry)?;
        }
        for entry in inventory::iter::<TransportEntry> {
            registry.register_transport(*entry)?;
        }
        Ok(registry)
    }

    /// Adds a backend. Errors: [`ErrorKind::AlreadyExists`], naming both origins; the first one stays.
    pub fn register_backend(&mut self, backend: impl Into<RegisteredBackend>) -> Result<()> {
        let backend = backend.into();
        match self.backends.get(backend.scheme()) {
            Some(first) => Err(taken(backend.scheme(), first.origin(), backend.origin())),
            None => {
                self.backends.insert(backend.scheme().to_owned(), backend);
                Ok(())
            }
        }
    }

    /// Adds a transport. Errors: [`ErrorKind::AlreadyExists`], naming both origins; the first one stays.
    pub fn register_transport(&mut self, transport: impl Into<RegisteredTransport>) -> Result<()> {
        let transport = transport.into();
        match self.transports.get(transport.scheme()) {
            Some(first) => Err(taken(transport.scheme(), first.origin(), transport.origin())),
            None => {
                self.transports.insert(transport.scheme().to_owned(), transport);
                Ok(())
            }
        }
    }

    /// The backends, by scheme.
    pub fn backends(&self) -> impl Iterator<Item = &RegisteredBackend> {
        self.backends.values()
    }

    /// The transports, by scheme.
    pub fn transports(&self) -> impl Iterator<Item = &RegisteredTransport> {
        self.transports.values()
    }

    /// The transport of a scheme. Errors: [`ErrorKind::NotFound`], listing the schemes there are.
    pub fn transport(&self, scheme: &str) -> Result<&RegisteredTransport> {
        self.transports.get(scheme).ok_or_else(|| unknown("transport", scheme, self.transports.keys()))
    }

    /// Creates or opens the store that a URL names, such as `sqlite:notes.db`.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] for a text without a scheme; [`ErrorKind::NotFound`] for a scheme that is not
    /// registered, listing those that are; and those of the backend.
    pub async fn open_backend(&self, url: &str) -> Result<Box<dyn Backend>> {
        let Some((scheme, rest)) = url.split_once(':') else {
            let message = "a store is named by a URL, scheme first, for example `sqlite:notes.db`";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("url", url));
        };
        let entry = self.backends.get(scheme).ok_or_else(|| unknown("backend", scheme, self.backends.keys()))?;
        (entry.open)(rest).await
    }
}

fn taken(scheme: &str, first: &str, second: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, "two crates offer the same scheme; leave one of them out")
        .with("scheme", scheme)
        .with("first", first)
        .with("second", second)
}

fn unknown<'a>(what: &str, scheme: &str, known: impl Iterator<Item = &'a String>) -> Error {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let message = format!("no {what} for this scheme is part of this program");
    Error::new(ErrorKind::NotFound, message).with("scheme", scheme).with("known", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(origin: &'static str) -> BackendEntry {
        BackendEntry::new("x", origin, |_| Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "test")) }))
    }

    #[test]
    fn a_duplicate_scheme_names_both_origins() {
        let mut registry = Registry::empty();
        registry.register_backend(entry("one")).unwrap();
        let error = registry.register_backend(entry("two")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!((error.context("first"), error.context("second")), (Some("one"), Some("two")));
    }

    #[test]
    fn an_unknown_scheme_lists_what_there_is() {
        let mut registry = Registry::empty();
        registry.register_backend(entry("one")).unwrap();
        let error = registry.transport("y").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let mut opening = Box::pin(registry.open_backend("nosuch:file"));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match opening.as_mut().poll(&mut context) {
            std::task::Poll::Ready(Err(error)) => assert_eq!(error.context("known"), Some("x")),
            _ => panic!("an unknown scheme must be refused at once"),
        }
    }
}
