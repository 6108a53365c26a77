//! The grants of a user: that this device may carry databases for her, also while nobody is logged in.
//!
//! There is one for each key and database that she tracks with sync switched on, and one for each key to list databases with.
//! They change in the batch of what they follow from, and what is missing is signed at the login, when keys are there.

use eidetica_contract::{ErrorKind, PublicKey, Result};
use eidetica_core::{Id, LocalChange, SecretKey};
use eidetica_sync::access::Scope;

use super::rows::{self, TRACKED, TrackedRow};
use super::{KeyId, User};

/// How many grants are stored at once.
const AT_ONCE: usize = 256;

impl User {
    /// The changes that go with a change of what the user wishes for a database.
    ///
    /// Two users may have the same key, so a grant goes only when nobody else needs it. Its row is read before those of the
    /// others, and each tracking changes it, so that nobody who comes in between is overlooked: the batch then fails.
    pub(super) async fn grant_changes(
        &self,
        database: &Id,
        before: Option<&TrackedRow>,
        after: Option<&TrackedRow>,
    ) -> Result<Vec<LocalChange>> {
        let (grants, scope) = (self.instance.grants(), Scope::Database(*database));
        let needed = after.filter(|row| row.sync_enabled).map(key_of);
        let mut changes = Vec::new();
        if let Some(old) = before.map(key_of).filter(|old| Some(*old) != needed) {
            let withdrawal = grants.withdrawing(&old, scope).await?;
            let mut of_no_use = Vec::new();
            if after.map(key_of) != Some(old) {
                of_no_use = self.instance.asked_requests().forgetting(database, &old).await?;
            }
            if !self.others_use(database, &old).await? {
                changes.extend(withdrawal.into_iter().chain(of_no_use));
            }
        }
        if needed.is_none() {
            // Those of keys that others have taken the place of, too.
            for key in super::ring::list(&self.instance, self.id()).await? {
                if Some(key.id) != before.map(key_of) && !self.others_use(database, &key.id).await? {
                    changes.extend(grants.withdrawing(&key.id, scope).await?);
                }
            }
        }
        if let Some(new) = needed {
            changes.push(grants.saving(&self.secret_key(&new).await?, scope).await?);
        }
        Ok(changes)
    }

    /// The change that lets this device list what a key of the user may read.
    pub(super) async fn listing_grant(&self, key: &SecretKey) -> Result<LocalChange> {
        self.instance.grants().saving(key, Scope::Listing).await
    }

    /// Signs what is missing: for a user from before there were grants, or of a store whose device has another key now.
    pub(super) async fn complete_grants(&self) -> Result<()> {
        let mut completed = false;
        loop {
            let missing = self.missing_grants().await?;
            if missing.is_empty() {
                break;
            }
            match self.instance.engine().change_locals(missing).await {
                Ok(()) => completed = true,
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                // Who can log in to make room must be let in; the next login completes them.
                Err(error) if matches!(error.kind(), ErrorKind::Full | ErrorKind::ReadOnly) => break,
                Err(error) => return Err(error),
            }
        }
        if completed {
            self.instance.wishes_have_changed();
        }
        Ok(())
    }

    /// The changes that sign grants which are missing, some of them if there are many.
    async fn missing_grants(&self) -> Result<Vec<LocalChange>> {
        let (grants, mut changes) = (self.instance.grants(), Vec::new());
        for key in super::ring::list(&self.instance, self.id()).await? {
            if !grants.has(&key.id, Scope::Listing).await?
                && let Some(key) = self.key_to_sign_with(&key.id).await?
            {
                changes.push(self.listing_grant(&key).await?);
            }
        }
        let own = self.id().to_string();
        for (name, row) in self.instance.engine().locals(TRACKED).await? {
            let (database, user) = TrackedRow::parts(&name)?;
            let tracked = TrackedRow::parse(&row)?;
            let (key, scope) = (PublicKey::from_bytes(tracked.key), Scope::Database(database));
            if user != own || !tracked.sync_enabled || grants.has(&key, scope).await? {
                continue;
            }
            if changes.len() >= AT_ONCE {
                break;
            }
            if let Some(key) = self.key_to_sign_with(&key).await? {
                changes.push(grants.saving(&key, scope).await?);
                // Only while it is tracked so: somebody may stop tracking it at this moment.
                changes.push(LocalChange { name, before: Some(row.clone()), after: Some(row) });
            }
        }
        Ok(changes)
    }

    /// A key, unless its row is damaged or gone: that is said when it is used, and keeps nobody out.
    async fn key_to_sign_with(&self, key: &KeyId) -> Result<Option<SecretKey>> {
        match self.secret_key(key).await {
            Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::NotFound) => Ok(None),
            key => key.map(Some),
        }
    }

    /// Whether another user wants this database synced with the same key.
    async fn others_use(&self, database: &Id, key: &PublicKey) -> Result<bool> {
        let own = rows::tracked(database, self.id());
        for (name, row) in self.instance.engine().locals(&format!("{TRACKED}{database}/")).await? {
            let row = TrackedRow::parse(&row)?;
            if name != own && row.sync_enabled && row.key == *key.as_bytes() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn key_of(row: &TrackedRow) -> PublicKey {
    PublicKey::from_bytes(row.key)
}
