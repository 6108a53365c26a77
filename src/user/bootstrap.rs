//! Joining databases of others, and letting others join, over sync.

use std::collections::BTreeMap;

use eidetica_contract::{Address, Result};
use eidetica_core::Id;
use eidetica_core::auth::{Permission, Right};
use eidetica_sync::Syncer;
use eidetica_sync::access::{BootstrapRequest, RequestId, RequestState};

use super::{KeyId, User};

impl User {
    /// Asks the peer at an address for access to a database with one of the user's keys.
    ///
    /// `Ok` says that access is there: the database is tracked, and the next sync brings it. While an admin has to decide, the
    /// error is of kind `Pending`, with `request_id` among its context pairs; the request is repeated with each sync, so that a
    /// later one completes by itself.
    ///
    /// Errors: `NotFound` (`unknown_key`); `Pending`; `PermissionDenied` (`access_rejected`); those of
    /// [`Syncer::connect_to_peer`]. Cancellation: it may have been asked and not yet be known here; asking again does no harm.
    pub async fn request_database_access(
        &self,
        sync: &Syncer,
        address: &Address,
        database: &Id,
        key: &KeyId,
        permission: Permission,
    ) -> Result<()> {
        // Before the network: what is wrong here is said here.
        self.secret_key(key).await?;
        let peer = sync.connect_to_peer(address).await?;
        let request = self.prepare_access_request(&peer, database, key, permission, BTreeMap::new()).await?;
        sync.request_access(address, &request).await?.into_result(request.wanted()).map(|_| ())
    }

    /// The requests of others that wait for a decision which a key of this user may take, the oldest first.
    pub async fn pending_bootstrap_requests(&self, sync: &Syncer) -> Result<Vec<(RequestId, BootstrapRequest)>> {
        let mut requests = self.access_requests(sync.access_book()).await?;
        requests.retain(|(_, request)| request.state == RequestState::Pending);
        Ok(requests)
    }

    /// Gives what was asked for. It is there for the other side with its next sync.
    ///
    /// Errors: those of [`approve_access_request`](User::approve_access_request).
    pub async fn approve_bootstrap_request(
        &self,
        sync: &Syncer,
        request: &RequestId,
        approving_key: &KeyId,
    ) -> Result<()> {
        self.approve_access_request(sync.access_book(), request, approving_key, None).await
    }

    /// Gives something else than was asked for, such as less.
    ///
    /// Errors: those of [`approve_access_request`](User::approve_access_request).
    pub async fn approve_bootstrap_request_with(
        &self,
        sync: &Syncer,
        request: &RequestId,
        approving_key: &KeyId,
        right: Right,
    ) -> Result<()> {
        self.approve_access_request(sync.access_book(), request, approving_key, Some(right)).await
    }

    /// Says no. Nothing is granted.
    ///
    /// Errors: those of [`reject_access_request`](User::reject_access_request).
    pub async fn reject_bootstrap_request(
        &self,
        sync: &Syncer,
        request: &RequestId,
        rejecting_key: &KeyId,
    ) -> Result<()> {
        self.reject_access_request(sync.access_book(), request, rejecting_key, "").await
    }
}
