//! How peers keep in step: see the guide, and [`Syncer`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> eidetica::Result<()> {
//! use eidetica::{Instance, crdt::Doc};
//! use eidetica::sync::transports::memory::MemoryNetwork;
//!
//! // Alice has a database that everybody may read, and listens.
//! let network = MemoryNetwork::new();
//! let alice = Instance::open_url("memory:").await?;
//! alice.enable_sync().await?;
//! alice.create_user("alice", None).await?;
//! let mut user = alice.login_user("alice", None).await?;
//! let key = user.get_default_key()?;
//! let database = user.create_database(Doc::new(), &key).await?;
//! let tree_id = database.root_id().clone();
//! let sync = alice.sync().unwrap();
//! sync.register_transport("memory", network.builder("alice")).await?;
//! sync.accept_connections().await?;
//! let address = sync.get_server_address_async().await?;
//!
//! // Ben asks for access, and Alice gives it.
//! let ben = Instance::open_url("memory:").await?;
//! ben.enable_sync().await?;
//! ben.create_user("ben", None).await?;
//! let user_ben = ben.login_user("ben", None).await?;
//! let key_ben = user_ben.get_default_key()?;
//! let sync_ben = ben.sync().unwrap();
//! sync_ben.register_transport("memory", network.builder("ben")).await?;
//! let pending = user_ben
//!     .request_database_access(&sync_ben, &address, &tree_id, &key_ben, eidetica::auth::Permission::Write)
//!     .await
//!     .unwrap_err();
//! assert_eq!(pending.kind(), eidetica::ErrorKind::Pending);
//! # let mut requests = user.pending_bootstrap_requests(&sync).await?;
//! # while requests.is_empty() {
//! #     tokio::time::sleep(std::time::Duration::from_millis(5)).await;
//! #     requests = user.pending_bootstrap_requests(&sync).await?;
//! # }
//! let (request, _) = &user.pending_bootstrap_requests(&sync).await?[0];
//! user.approve_bootstrap_request(&sync, request, &key).await?;
//!
//! sync_ben.sync_with_peer(&address, Some(&tree_id)).await?;
//! assert!(user_ben.open_database(&tree_id).await.is_ok());
//! # ben.close().await?;
//! # alice.close().await
//! # }
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use eidetica_contract::Result;
use eidetica_core::{Engine, Id};
use eidetica_sync::schedule::Wish;
use tokio::sync::watch;

pub use eidetica_contract::{
    CallOptions, Caller, Channel, Service, Transport, TransportBuilder, TransportContext, TransportInfo, TransportState,
};
pub use eidetica_sync::access::{BootstrapRequest, RequestId, RequestState};
pub use eidetica_sync::{
    Address, Departed, Host, MAX_LIFETIME, MAX_PAYLOAD, MAX_REACH, Presence, PresenceEvent, Present, Rate,
    StrangerLimits, SyncAuth, SyncEvent, SyncHandle, SyncOptions, SyncPeerInfo, SyncReport, SyncState, SyncStatus,
    SyncedDatabase, Syncer, access, peers, reconcile, schedule, session, ticket,
};

use crate::wishes::readable_wishes;

/// The transports that are part of this program.
pub mod transports {
    /// HTTP: simple, for fixed addresses and behind proxies.
    #[cfg(feature = "http")]
    pub mod http {
        pub use eidetica_transport_http::{HttpLimits, HttpTransport, HttpTransportBuilder};
    }

    /// iroh: QUIC from device to device, also through routers and firewalls.
    #[cfg(feature = "iroh")]
    pub mod iroh {
        pub use eidetica_transport_iroh::{IrohLimits, IrohTransport, IrohTransportBuilder, RelayMode};
    }

    /// The transport in memory, for tests.
    pub mod memory {
        pub use eidetica_sync::transport::{MemoryNetwork, MemoryTransport, MemoryTransportBuilder};
    }
}

/// What all users together wish, as sync asks for it.
pub(crate) struct Wishing {
    pub engine: Engine,
    pub bell: watch::Sender<u64>,
}

#[async_trait]
impl Host for Wishing {
    async fn wishes(&self) -> Result<BTreeMap<Id, Wish>> {
        let all = readable_wishes(&self.engine).await?;
        let wish = |wishes: crate::Wishes| Wish {
            enabled: wishes.sync_enabled,
            on_commit: wishes.sync_on_commit,
            interval: wishes.interval_seconds.map(Duration::from_secs),
        };
        Ok(all.into_iter().map(|(id, wishes)| (id, wish(wishes))).collect())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
}
