//! A build without TLS: `https` is refused.

use eidetica_contract::{Error, ErrorKind, Result};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;

/// Whom to trust: nobody can be asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust(());

impl Trust {
    pub(crate) fn load(self) -> Result<Tls> {
        Ok(Tls)
    }
}

#[derive(Clone)]
pub(crate) struct Tls;

impl Tls {
    pub(crate) fn check(&self) -> Result<()> {
        let message = "this program was built without TLS; build it with the feature `tls` (of eidetica-cli, eidetica or \
                       eidetica-transport-http), or use an http:// address";
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    pub(crate) async fn connect(&self, _: &Endpoint, stream: TcpStream) -> Result<TcpStream> {
        self.check().map(|()| stream)
    }
}
