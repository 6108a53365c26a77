//! The ways between devices on this machine: HTTP, iroh without relays, and both at once.

use eidetica::Result;
use eidetica::sync::transports::http::HttpTransport;
use eidetica::sync::transports::iroh::{IrohTransport, IrohTransportBuilder, RelayMode};
use eidetica::sync::{Address, Syncer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    Http,
    Iroh,
    Both,
}

impl Ways {
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Ways::Http => &["http"],
            Ways::Iroh => &["iroh"],
            Ways::Both => &["http", "iroh"],
        }
    }

    /// Registers the transports, which may listen on loopback. The guide says port 8080, and for iroh nothing; a test takes what
    /// is free, and asks nobody outside.
    pub async fn register(self, sync: &Syncer) -> Result<()> {
        if self != Ways::Iroh {
            sync.register_transport("http", HttpTransport::builder().bind("127.0.0.1:0")).await?;
        }
        if self != Ways::Http {
            sync.register_transport("iroh", iroh()).await?;
        }
        Ok(())
    }

    /// Listens, and gives the addresses, one for each way.
    pub async fn listen(self, sync: &Syncer) -> Result<Vec<Address>> {
        sync.accept_connections().await?;
        let all = sync.get_all_server_addresses_async().await?;
        let labels: Vec<&str> = all.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, self.labels());
        Ok(all.into_iter().map(|(_, address)| address).collect())
    }
}

/// On loopback, without anybody else.
pub fn iroh() -> IrohTransportBuilder {
    IrohTransport::builder().relay_mode(RelayMode::Disabled).bind("127.0.0.1:0")
}
