//! Tickets: telling others where a database is, and joining one by what one was told.

use std::collections::BTreeMap;
use std::time::Duration;

use eidetica_contract::{Address, Error, ErrorKind, PublicKey, Result, Retry};
use eidetica_core::auth::Permission;
use eidetica_core::{Database, Id};
use eidetica_sync::ticket::{DatabaseTicket, TicketPeer};
use eidetica_sync::{SyncPeerInfo, Syncer};

use super::{KeyId, User, refused};

/// How long it is waited before it is asked again whether an invitation was accepted, and whether what was granted is served. The
/// other side needs a moment for both.
const AGAIN: [u64; 7] = [20, 50, 100, 200, 400, 800, 1_600];

/// How many bytes of the name of a database go into a ticket.
const MAX_NAME: usize = 256;

impl User {
    /// A ticket for a database that this user tracks: its id and name, and where this device is reached. Whoever gets it may ask for
    /// access; [`invite`](User::invite) makes tickets that give it.
    ///
    /// Errors, with the context pair `reason`: `NotFound` (`not_tracked`, or that nothing listens); `Unsupported` (`no_sync`
    /// before [`Instance::enable_sync`](crate::Instance::enable_sync), `sync_disabled` if the user has switched the sync of this
    /// database off).
    pub async fn share(&self, id: &Id) -> Result<DatabaseTicket> {
        let sync = self.sync()?;
        let (_, tracked) = self.tracked_row(id).await?.ok_or_else(|| refused::not_tracked(id))?;
        if !tracked.sync_enabled {
            let message = "the sync of this database is switched off, and so nobody could join it; switch it on with \
                           `set_sync_enabled`";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with("reason", "sync_disabled")
                .with("database", id));
        }
        // Says what to do if nothing listens.
        sync.get_server_address_async().await?;
        let addresses = sync.get_all_server_addresses_async().await?.into_iter().map(|(_, address)| address).collect();
        let mut ticket = DatabaseTicket::new(*id);
        ticket.peers.push(TicketPeer { device: self.instance.device_id(), addresses });
        if let Some(here) = self.database_here(id).await? {
            // A database without a name is shared without one, and a long name is cut as it is where databases are listed.
            ticket.name = here.get_name().await.ok().map(|mut name| {
                name.truncate(name.floor_char_boundary(MAX_NAME));
                name
            });
        }
        Ok(ticket)
    }

    /// Joins the database of a ticket with the default key of this user, and opens it: asks for access, fetches what is there, and
    /// keeps in step with the peers of the ticket from then on.
    ///
    /// Errors, with the context pair `reason`: `Unsupported` (`no_sync`) before
    /// [`Instance::enable_sync`](crate::Instance::enable_sync); those of [`Syncer::reach`] if no address leads to a device of the
    /// ticket; `Pending` (`access_pending`) while an admin has to decide: then the database is
    /// tracked, the request is repeated with each sync, and joining once more completes it, too; `PermissionDenied`
    /// (`access_rejected`). Cancellation: it may be tracked and asked for; joining again does no harm.
    pub async fn join(&self, ticket: &DatabaseTicket) -> Result<Database> {
        self.join_with_key(ticket, &self.get_default_key()?).await
    }

    /// Joins the database of a ticket with one of the user's keys.
    ///
    /// Errors and cancellation: as for [`join`](User::join); `NotFound` (`unknown_key`).
    pub async fn join_with_key(&self, ticket: &DatabaseTicket, key: &KeyId) -> Result<Database> {
        let sync = self.sync()?;
        self.secret_key(key).await?;
        let (peer, address) = sync.reach(ticket).await?;
        self.ask_by(&sync, ticket, &peer, &address, key).await?;
        let id = ticket.database;
        let mut pauses = AGAIN.iter();
        while let Err(error) = sync.sync_with_peer(&address, Some(&id)).await {
            match pauses.next() {
                Some(pause) if error.retry_hint() == Retry::Later => {
                    tokio::time::sleep(Duration::from_millis(*pause)).await;
                }
                _ => return Err(error),
            }
        }
        self.open_database(&id).await
    }

    /// Asks for what a ticket is for, and shows its invitation. The peers of the ticket are remembered before, so that what has to be
    /// waited for comes by itself.
    async fn ask_by(
        &self,
        sync: &Syncer,
        ticket: &DatabaseTicket,
        peer: &PublicKey,
        address: &Address,
        key: &KeyId,
    ) -> Result<Permission> {
        let (id, mut metadata) = (ticket.database, BTreeMap::new());
        metadata.extend(ticket.invitation.as_ref().map(|invitation| invitation.pair(&id, peer, key)));
        let wanted = ticket.ask.unwrap_or(Permission::Write);
        let request = self.prepare_access_request(peer, &id, key, wanted, metadata).await?;
        for TicketPeer { device, addresses } in &ticket.peers {
            sync.register_sync_peer(SyncPeerInfo {
                peer_pubkey: device.to_string(),
                tree_id: id,
                addresses: addresses.clone(),
                auth: None,
                display_name: None,
            })
            .await?;
        }
        let mut pauses = AGAIN.iter().filter(|_| ticket.invitation.is_some());
        loop {
            match sync.request_access(address, &request).await?.into_result(request.wanted()) {
                Err(error) if error.kind() == ErrorKind::Pending => match pauses.next() {
                    Some(pause) => tokio::time::sleep(Duration::from_millis(*pause)).await,
                    None => return Err(error),
                },
                decided => return decided,
            }
        }
    }

    fn sync(&self) -> Result<Syncer> {
        self.instance.sync().ok_or_else(|| {
            let message = "sync is not enabled in this store; call `enable_sync`, and register a transport";
            Error::new(ErrorKind::Unsupported, message).with("reason", "no_sync")
        })
    }
}
