//! `https`: rustls with ring, handed over explicitly.
//!
//! rustls panics where a process-wide provider is wanted and none, or two, are compiled in, which depends on crates that have
//! nothing to do with this one. So nothing here asks for the process-wide one, nor sets it.

use std::sync::Arc;

use eidetica_contract::{Error, ErrorKind, Result};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::endpoint::Endpoint;

/// Certificate authorities to trust besides those of the system, in PEM.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust(Vec<Vec<u8>>);

impl Trust {
    pub(crate) fn add(&mut self, pem: Vec<u8>) {
        self.0.push(pem);
    }

    pub(crate) fn load(self) -> Result<Tls> {
        let mut roots = RootCertStore::empty();
        for pem in self.0 {
            let mut found = false;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate.map_err(|error| error.to_string());
                let added = added.and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
                added.map_err(|error| none().with("problem", error))?;
                found = true;
            }
            if !found {
                return Err(none());
            }
        }
        Ok(Tls { roots: Arc::new(roots), ready: Arc::default() })
    }
}

fn none() -> Error {
    Error::new(ErrorKind::InvalidInput, "what is to be trusted holds no certificate in PEM")
}

/// What `https` needs, read when it is first dialled.
#[derive(Clone)]
pub(crate) struct Tls {
    roots: Arc<RootCertStore>,
    ready: Arc<OnceCell<TlsConnector>>,
}

impl Tls {
    pub(crate) fn check(&self) -> Result<()> {
        Ok(())
    }

    pub(crate) async fn connect(&self, endpoint: &Endpoint, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
        let connector = self.ready.get_or_try_init(|| self.prepare()).await?;
        let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "not a name that a certificate could be for")
                .with("host", &endpoint.host)
                .caused_by(error)
        })?;
        connector.connect(name, stream).await.map_err(|error| {
            let message = "no TLS connection; the peer does not speak TLS there, or its certificate is not trusted";
            Error::new(ErrorKind::Unreachable, message).with("address", endpoint).caused_by(error)
        })
    }

    async fn prepare(&self) -> Result<TlsConnector> {
        let mut roots = RootCertStore::clone(&self.roots);
        // Reading a few hundred files. What the system holds besides certificates that can be read is its own affair.
        let found = spawn_blocking(rustls_native_certs::load_native_certs).await;
        let found =
            found.map_err(|error| Error::new(ErrorKind::Io, "cannot read the certificates").caused_by(error))?;
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let message = "this machine has no certificate authorities to trust; install its `ca-certificates`, \
                           or name some with `trust_pem`";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions();
        let config = config.map_err(|error| Error::new(ErrorKind::Internal, "no version of TLS").caused_by(error))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
