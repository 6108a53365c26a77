//! Asking for access to databases of others, and deciding on what others ask for.

use std::collections::{BTreeMap, HashMap};

use eidetica_contract::{PublicKey, Result};
use eidetica_core::auth::{Permission, Right};
use eidetica_core::{Database, Id};
use eidetica_sync::access::{Answer, Book, BootstrapRequest, Request, RequestId, Wanted};

use super::rows::TrackedRow;
use super::tracking::{to_row, unknown_database};
use super::types::SyncSettings;
use super::{KeyId, User};

impl User {
    /// Signs a request for access, to be sent to this device, and remembers it, so that it is sent again until it is decided, also
    /// after a restart and with nobody logged in. The database is tracked with this key from now on, with sync switched on; if
    /// it is here and tracked with a key that may read it already, that key stays.
    ///
    /// The request bears the name of the key, or that of the user if the key has none. The metadata are shown to who decides.
    ///
    /// Errors: `NotFound` (`unknown_key`); `InvalidInput` (`bad_request`) for metadata that cannot be sent, see [`Wanted`].
    /// Cancellation: it may be tracked without having been asked for.
    pub async fn prepare_access_request(
        &self,
        to: &PublicKey,
        database: &Id,
        key: &KeyId,
        permission: Permission,
        metadata: BTreeMap<String, String>,
    ) -> Result<Request> {
        let secret = self.secret_key(key).await?;
        let mut wanted = Wanted::new(*database, *key, Some(permission), self.name());
        wanted.metadata = metadata;
        wanted.check()?;
        let of_key = super::ring::list(&self.instance, self.id()).await?.into_iter().find(|other| other.id == *key);
        if let Some(name) = of_key.and_then(|key| key.name) {
            let mut named = wanted.clone();
            named.name = name;
            // A key may be called anything; who is called so that it cannot be sent asks with the name of the user.
            wanted = if named.check().is_ok() { named } else { wanted };
        }
        let request = Request::sign(wanted, self.instance.device_id(), *to, &secret)?;
        let here = self.database_here(database).await?;
        let keeps = match (&here, self.tracked_row(database).await?) {
            (Some(here), Some((_, row))) if row.key != *key.as_bytes() => {
                may_read(here, &PublicKey::from_bytes(row.key)).await? && !may_read(here, key).await?
            }
            _ => false,
        };
        self.change_tracked(database, |row| {
            let row = row.unwrap_or_else(|| to_row(key, SyncSettings::default()));
            let key = if keeps { row.key } else { *key.as_bytes() };
            Ok(Some(TrackedRow { key, sync_enabled: true, ..row }))
        })
        .await?;
        self.instance.asked_requests().remember(&request).await?;
        Ok(request)
    }

    /// The requests in a book that a key of this user may decide on, decided ones included, the oldest first.
    pub async fn access_requests(&self, book: &Book) -> Result<Vec<(RequestId, BootstrapRequest)>> {
        let keys = self.list_keys().await?;
        let (mut decides, mut found) = (HashMap::new(), Vec::new());
        for (id, request) in book.requests().await? {
            let may = match decides.get(&request.database) {
                Some(may) => *may,
                None => {
                    let mut may = false;
                    if let Some(here) = self.database_here(&request.database).await? {
                        for key in &keys {
                            may = may || here.now().right_of(key.id).await? >= Right::admin(0);
                        }
                    }
                    decides.insert(request.database, may);
                    may
                }
            };
            if may {
                found.push((id, request));
            }
        }
        Ok(found)
    }

    /// Approves a request of a book with a key of this user; see [`Book::approve`].
    ///
    /// Errors: `NotFound` (`unknown_key`, `unknown_database`); those of [`Book::approve`].
    pub async fn approve_access_request(
        &self,
        book: &Book,
        request: &RequestId,
        approving_key: &KeyId,
        give: Option<Right>,
    ) -> Result<()> {
        book.approve(&self.database_of(book, request, approving_key).await?, request, give).await
    }

    /// Rejects a request of a book with a key of this user; see [`Book::reject`].
    ///
    /// Errors: `NotFound` (`unknown_key`, `unknown_database`); those of [`Book::reject`].
    pub async fn reject_access_request(
        &self,
        book: &Book,
        request: &RequestId,
        rejecting_key: &KeyId,
        reason: &str,
    ) -> Result<()> {
        book.reject(&self.database_of(book, request, rejecting_key).await?, request, reason).await
    }

    /// Takes the rejection of a request back with a key of this user, so that it may be approved; see [`Book::reopen`].
    ///
    /// Errors: `NotFound` (`unknown_key`, `unknown_database`); those of [`Book::reopen`].
    pub async fn reopen_access_request(&self, book: &Book, request: &RequestId, key: &KeyId) -> Result<()> {
        book.reopen(&self.database_of(book, request, key).await?, request).await
    }

    async fn database_of(&self, book: &Book, request: &RequestId, key: &KeyId) -> Result<Database> {
        let secret = self.secret_key(key).await?;
        let id = book.get(request).await?.database;
        let here = self.database_here(&id).await?.ok_or_else(|| unknown_database(&id))?;
        Ok(here.with_key(Some(secret)))
    }

    /// Refuses to open a database that has not arrived, with what was answered to requests for it.
    pub(super) async fn check_asked(&self, database: &Id, key: &PublicKey) -> Result<()> {
        let asked = self.instance.asked_requests().of(database).await?.into_iter();
        let answers = asked.filter(|asked| asked.request.wanted().key == *key);
        let mut answers: Vec<_> = answers.filter_map(|asked| Some((asked.answer?, asked.request))).collect();
        // Who still waits for one peer is not told that another has rejected.
        answers.sort_by_key(|(answer, _)| !matches!(answer, Answer::Pending(_)));
        match answers.into_iter().next() {
            Some((answer, request)) => answer.into_result(request.wanted()).map(|_| ()),
            None => Ok(()),
        }
    }
}

async fn may_read(database: &Database, key: &PublicKey) -> Result<bool> {
    Ok(database.now().right_of(*key).await? >= Right::READ)
}
