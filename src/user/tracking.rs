//! The databases of a user.

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, PublicKey, Result, Retry};
use eidetica_core::auth::Right;
use eidetica_core::crdt::Doc;
use eidetica_core::{Database, Id, LocalChange, View};

use super::rows::{self, TRACKED, TrackedRow};
use super::types::{SyncSettings, TrackedDatabase};
use super::{KeyId, User, refused};

impl User {
    /// Creates a database whose strongest admin is this key, and tracks it with [`SyncSettings::default`].
    ///
    /// Errors: `NotFound` for a key that is none of this user's; `InvalidInput` for settings that cannot be stored, such as
    /// NaN. Cancellation: the database exists or not; it may exist without being tracked.
    pub async fn create_database(&mut self, settings: Doc, key: &KeyId) -> Result<Database> {
        let secret = self.secret_key(key).await?;
        let database = self.instance.create_database_with_key(settings, &secret).await?;
        let sync_settings = SyncSettings::default();
        self.track_database(TrackedDatabase { database_id: *database.root_id(), key_id: *key, sync_settings }).await?;
        Ok(database)
    }

    /// Opens a database: with the key that it is tracked with, else with the key of the user that may do most.
    ///
    /// Errors, with the context pair `reason`: `NotFound` (`unknown_database`, or `waits_for_access` for one that is tracked
    /// and of which nothing has arrived yet: that may be tried again later); `Pending` (`access_pending`, with `request_id`) while
    /// an admin has to decide on a request for it; `PermissionDenied` (`no_right_of_key`, or `no_right` of any key, or
    /// `access_rejected`).
    pub async fn open_database(&self, id: &Id) -> Result<Database> {
        let tracked = self.tracked_row(id).await?;
        match (self.database_here(id).await?, tracked) {
            (Some(_), Some((_, row))) => self.open_database_with_key(id, &PublicKey::from_bytes(row.key)).await,
            (Some(database), None) => {
                let key = self.strongest_key(&database).await?;
                Ok(database.with_key(Some(self.secret_key(&key).await?)))
            }
            (None, Some((_, row))) => {
                #[cfg(feature = "sync")]
                self.check_asked(id, &PublicKey::from_bytes(row.key)).await?;
                let message = "the database is tracked, and nothing of it has arrived yet; sync with a peer that has it, \
                               and wait until its admin has given access";
                let error = Error::new(ErrorKind::NotFound, message).retry(Retry::Later);
                let error = error.with("reason", "waits_for_access").with("database", id);
                Err(error.with("key", PublicKey::from_bytes(row.key)))
            }
            (None, None) => Err(unknown_database(id)),
        }
    }

    /// Opens a database with exactly this key.
    ///
    /// Errors, with the context pair `reason`: `NotFound` (`unknown_key`, `unknown_database`); `PermissionDenied`
    /// (`no_right_of_key`).
    pub async fn open_database_with_key(&self, id: &Id, key: &KeyId) -> Result<Database> {
        let secret = self.secret_key(key).await?;
        let database = self.database_here(id).await?.ok_or_else(|| unknown_database(id))?;
        check_right(&database, key).await?;
        Ok(database.with_key(Some(secret)))
    }

    /// All tracked databases that are here and have this name in their settings.
    ///
    /// Errors: `NotFound` if there is none.
    pub async fn find_database(&self, name: &str) -> Result<Vec<Database>> {
        let mut found = Vec::new();
        for tracked in self.databases().await? {
            let opened = match self.open_database(&tracked.database_id).await {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => continue,
                opened => opened?,
            };
            match opened.get_name().await {
                Ok(other) if other == name => found.push(opened),
                Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::WrongType) => return Err(error),
                _ => {}
            }
        }
        if found.is_empty() {
            let message = "no database that this user tracks has this name; `databases` shows those there are";
            return Err(Error::new(ErrorKind::NotFound, message).with("reason", "unknown_name").with("name", name));
        }
        Ok(found)
    }

    /// The databases that this user tracks, those that are not here yet included.
    pub async fn databases(&self) -> Result<Vec<TrackedDatabase>> {
        self.master()?;
        let mut tracked = Vec::new();
        let own = self.id().to_string();
        for (name, row) in self.instance.engine().locals(TRACKED).await? {
            let (database, user) = TrackedRow::parts(&name)?;
            if user == own {
                tracked.push(from_row(database, TrackedRow::parse(&row)?));
            }
        }
        Ok(tracked)
    }

    /// Tracks a database, or changes key and settings of one that is tracked. It need not be here yet: then it waits until
    /// the key has access.
    ///
    /// Errors: `InvalidInput` for an interval of 0 seconds; `NotFound` for a key that is none of this user's;
    /// `PermissionDenied` if the database is here and the key has no right to it. Cancellation: it is tracked so, or as before.
    pub async fn track_database(&mut self, tracked: TrackedDatabase) -> Result<()> {
        let TrackedDatabase { database_id, key_id, sync_settings } = tracked;
        if sync_settings.interval_seconds == Some(0) {
            let message = "an interval has at least one second; `None` syncs at no interval";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("interval_seconds", 0));
        }
        self.secret_key(&key_id).await?;
        if let Some(database) = self.database_here(&database_id).await? {
            check_right(&database, &key_id).await?;
        }
        let row = to_row(&key_id, sync_settings);
        self.change_tracked(&database_id, |_| Ok(Some(row.clone()))).await
    }

    /// Switches the sync of a tracked database on or off; its other settings stay.
    ///
    /// Errors: `NotFound` if it is not tracked. Cancellation: it is on or off.
    pub async fn set_sync_enabled(&mut self, id: &Id, enabled: bool) -> Result<()> {
        self.change_tracked(id, |row| {
            let row = row.ok_or_else(|| refused::not_tracked(id))?;
            Ok(Some(TrackedRow { sync_enabled: enabled, ..row }))
        })
        .await
    }

    /// Stops tracking a database. What is here of it stays. If no other user tracks it, its sync has stopped on return: nothing
    /// of it is under way, and no peer is served any more.
    ///
    /// Errors: `NotFound` if it is not tracked. Cancellation: it is tracked or not.
    pub async fn untrack_database(&mut self, id: &Id) -> Result<()> {
        self.change_tracked(id, |row| row.map(|_| None).ok_or_else(|| refused::not_tracked(id))).await
    }

    /// Changes what the user wishes for a database, however many sessions do so at once.
    pub(super) async fn change_tracked(
        &self,
        id: &Id,
        change: impl Fn(Option<TrackedRow>) -> Result<Option<TrackedRow>>,
    ) -> Result<()> {
        loop {
            let (before, row) = self.tracked_row(id).await?.unzip();
            let wished = change(row.clone())?;
            let (name, after) = (rows::tracked(id, self.id()), wished.clone().map(rows::write));
            #[cfg_attr(not(feature = "sync"), expect(unused_mut, reason = "nothing goes along"))]
            let mut changes = vec![LocalChange { name, before, after }];
            #[cfg(feature = "sync")]
            changes.extend(self.grant_changes(id, row.as_ref(), wished.as_ref()).await?);
            // Also after an error, and when this future is dropped: it may have been stored, and only the flush is missing.
            let bell = Bell(&self.instance);
            match self.instance.engine().change_locals(changes).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => {
                    drop(bell);
                    #[cfg(feature = "sync")]
                    if let (Ok(()), Some(sync)) = (&done, self.instance.sync()) {
                        sync.settle_wishes().await?;
                    }
                    return done;
                }
            }
        }
    }

    /// If the user tracks a database with one key and has another one that took its place, it is tracked with that from now on.
    ///
    /// What the old key has signed for this device stays: peers that have not heard of its successor yet know it by that, and
    /// learn of the successor by what they are sent. It is of no use once they have.
    pub(super) async fn follow_with(&self, id: &Id, old: &KeyId, new: &KeyId) -> Result<()> {
        loop {
            let Some((before, row)) = self.tracked_row(id).await? else { return Ok(()) };
            if row.key != *old.as_bytes() {
                return Ok(());
            }
            let secret = match self.secret_key(new).await {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                secret => secret?,
            };
            let after = TrackedRow { key: *secret.public().as_bytes(), ..row };
            #[cfg(feature = "sync")]
            let syncs = after.sync_enabled;
            let (name, after) = (rows::tracked(id, self.id()), Some(rows::write(after)));
            #[cfg_attr(not(feature = "sync"), expect(unused_mut, reason = "nothing goes along"))]
            let mut changes = vec![LocalChange { name, before: Some(before), after }];
            #[cfg(feature = "sync")]
            if syncs {
                let scope = eidetica_sync::access::Scope::Database(*id);
                changes.push(self.instance.grants().saving(&secret, scope).await?);
            }
            let bell = Bell(&self.instance);
            match self.instance.engine().change_locals(changes).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => {
                    drop(bell);
                    return done;
                }
            }
        }
    }

    pub(super) async fn tracked_row(&self, id: &Id) -> Result<Option<(Bytes, TrackedRow)>> {
        self.master()?;
        let row = self.instance.engine().local(&rows::tracked(id, self.id())).await?;
        row.map(|row| TrackedRow::parse(&row).map(|parsed| (row, parsed))).transpose()
    }

    /// A database of this store, without a key; `None` if it is not here.
    pub(super) async fn database_here(&self, id: &Id) -> Result<Option<Database>> {
        self.instance.engine().find_database(id).await
    }

    async fn strongest_key(&self, database: &Database) -> Result<KeyId> {
        self.strongest(database).await?.1.ok_or_else(|| refused::no_right(database.root_id()))
    }

    /// The key of the user that may do most, of equal ones the oldest, and what it may; `None` if none may do anything.
    pub(super) async fn strongest(&self, database: &Database) -> Result<(Right, Option<KeyId>)> {
        self.strongest_in(&database.now()).await
    }

    /// The same in a database as it was.
    pub(super) async fn strongest_in(&self, view: &View) -> Result<(Right, Option<KeyId>)> {
        let mut strongest = (Right::NONE, None);
        for key in self.list_keys().await? {
            let right = view.right_of(key.id).await?;
            if right > strongest.0 {
                strongest = (right, Some(key.id));
            }
        }
        Ok(strongest)
    }
}

/// Tells when it is dropped that wishes may have changed.
struct Bell<'i>(&'i crate::Instance);

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        self.0.wishes_have_changed();
    }
}

async fn check_right(database: &Database, key: &KeyId) -> Result<()> {
    match database.now().right_of(*key).await? >= Right::READ {
        true => Ok(()),
        false => Err(refused::no_right_of(key, database.root_id())),
    }
}

pub(super) fn unknown_database(id: &Id) -> Error {
    let message = "this store has no such database; track it, and sync with a peer that has it";
    Error::new(ErrorKind::NotFound, message).with("reason", "unknown_database").with("database", id)
}

pub(super) fn to_row(key: &KeyId, settings: SyncSettings) -> TrackedRow {
    let SyncSettings { sync_enabled, sync_on_commit, interval_seconds, properties } = settings;
    TrackedRow { key: *key.as_bytes(), sync_enabled, sync_on_commit, interval_seconds, properties }
}

fn from_row(database_id: Id, row: TrackedRow) -> TrackedDatabase {
    let TrackedRow { key, sync_enabled, sync_on_commit, interval_seconds, properties } = row;
    let sync_settings = SyncSettings { sync_enabled, sync_on_commit, interval_seconds, properties };
    TrackedDatabase { database_id, key_id: PublicKey::from_bytes(key), sync_settings }
}
