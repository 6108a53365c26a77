//! Who may do what in a database, as an admin changes it: rights of keys, and keys in the place of others.

use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::auth::{Permission, Right};
use eidetica_core::crdt::Doc;
use eidetica_core::store::SettingsStore;
use eidetica_core::{Committed, Database, Durability, Foreseen, Id, SecretKey, Snapshot, Transaction};

use super::tracking::unknown_database;
use super::types::{SyncSettings, TrackedDatabase};
use super::{KeyId, User, refused};

/// How often a change is made anew when something comes in between.
const ATTEMPTS: usize = 16;

/// A change of the rights in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RightsChange {
    /// A key gets at least this right.
    Grant {
        /// Whose.
        key: KeyId,
        /// Which, below that of who gives it.
        right: Right,
    },
    /// A key keeps at most this right. What it needs more for and has written unseen counts no longer.
    Limit {
        /// Whose.
        key: KeyId,
        /// What it keeps.
        right: Right,
    },
    /// A key loses everything, also what everybody may, and what it has written unseen counts no longer.
    Remove {
        /// Whose.
        key: KeyId,
        /// As of an older state: then what it has written since counts no longer, either, seen or not.
        as_of: Option<Snapshot>,
    },
    /// Everybody gets this right, or keeps no more than it, whichever it takes: nothing, read, or write.
    Everybody {
        /// Which.
        right: Right,
    },
    /// A key of the user gives up what it has. What it has written stays.
    StepDown {
        /// Which.
        key: KeyId,
        /// What it keeps; [`Right::NONE`]: nothing.
        to: Right,
    },
    /// A key is put in the place of another one.
    ///
    /// If the user has a key above the old one, that key grants the new one what the old one has and removes the old one, in one
    /// entry; what the old one has written unseen counts no longer. Otherwise the old key, which must be one of the user's, grants
    /// the new one what it can give at most, an admin one priority below itself, and steps down, in two entries that come
    /// in together or not at all; what it has written elsewhere still counts.
    Rotate {
        /// The old key.
        key: KeyId,
        /// The new one.
        successor: KeyId,
        /// As of an older state, as for [`Remove`](RightsChange::Remove); only by a key above the old one.
        as_of: Option<Snapshot>,
    },
}

/// A change of rights that can be looked at before it is made.
///
/// It stands on the state that was there when it was prepared: what a key that loses a right has written and what comes in after
/// that is struck, too.
#[must_use = "nothing is changed before it is committed"]
pub struct PreparedChange {
    user: User,
    database: Database,
    transaction: Transaction,
    change: RightsChange,
    by: KeyId,
    right: Right,
}

impl std::fmt::Debug for PreparedChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedChange").field("change", &self.change).field("by", &self.by).finish_non_exhaustive()
    }
}

impl PreparedChange {
    /// The key that will sign it.
    pub fn by(&self) -> &KeyId {
        &self.by
    }

    /// The right that its key, or for a rotation the new key, will have by it.
    pub fn right(&self) -> Right {
        self.right
    }

    /// The database that it is for, as the key that signs opens it.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// True if the old key hands its right over by itself, so that the new one gets less and what the old one has written still
    /// counts.
    pub fn hands_over(&self) -> bool {
        matches!(&self.change, RightsChange::Rotate { key, .. } if *key == self.by)
    }

    /// What it would strike, and whose right it would change. Errors: as for [`Transaction::foresee`].
    pub async fn foresee(&self) -> Result<Foreseen> {
        self.transaction.foresee().await
    }

    /// Makes it, durably. If the user tracks the database with a key that a rotation has ended, it is tracked with the new one from
    /// then on, if that is a key of the user.
    ///
    /// Errors: those of [`Transaction::commit`]; `Conflict`, to be prepared again, if something has come in between. Cancellation:
    /// it is made or not; after a rotation the database may still be tracked with the old key.
    pub async fn commit(self) -> Result<Committed> {
        let committed = self.transaction.commit_with(Durability::Flushed).await?;
        if let RightsChange::Rotate { key, successor, .. } = &self.change {
            self.user.follow_with(self.database.root_id(), key, successor).await?;
        }
        Ok(committed)
    }
}

impl User {
    /// Prepares a change of rights: chooses the key of the user that signs it (the strongest), and stands on what is here now, or on
    /// the older state that the change names.
    ///
    /// Errors, with the context pair `reason`: `NotFound` (`unknown_database`; `unknown_key` for stepping down with a key of somebody
    /// else; without a reason for the snapshot); `PermissionDenied` (`no_admin`) if no key of the user is an admin of the
    /// database, or none is above a key that is to be rotated and that cannot hand over its right. Whether the change is allowed is
    /// answered by [`foresee`](PreparedChange::foresee) and [`commit`](PreparedChange::commit).
    pub async fn prepare_change(&self, database: &Id, change: RightsChange) -> Result<PreparedChange> {
        let here = self.database_here(database).await?.ok_or_else(|| unknown_database(database))?;
        let key = self.signing_key(&here, &change).await?;
        let secret = self.secret_key(&key).await?;
        self.prepare_signed(here.with_key(Some(secret)), change).await
    }

    /// The same, signed with a key that the user does not keep, such as a recovery key.
    ///
    /// Errors: as for [`prepare_change`](User::prepare_change).
    pub async fn prepare_change_with(
        &self,
        database: &Id,
        key: &SecretKey,
        change: RightsChange,
    ) -> Result<PreparedChange> {
        let here = self.database_here(database).await?.ok_or_else(|| unknown_database(database))?;
        self.prepare_signed(here.with_key(Some(key.clone())), change).await
    }

    /// Gives a key at least this right in a database. Signed with the strongest key of the user; durable on return.
    ///
    /// Errors: those of [`prepare_change`](User::prepare_change); `PermissionDenied` if the key has as much, or is not below
    /// the one that signs, or if that has no more itself. Cancellation: as for a commit.
    pub async fn grant(&self, database: &Id, key: &KeyId, right: Right) -> Result<Committed> {
        self.change(database, RightsChange::Grant { key: *key, right }).await
    }

    /// Leaves a key at most this right in a database.
    ///
    /// Errors and cancellation: as for [`grant`](User::grant).
    pub async fn limit(&self, database: &Id, key: &KeyId, right: Right) -> Result<Committed> {
        self.change(database, RightsChange::Limit { key: *key, right }).await
    }

    /// Removes a key from a database; as of an older state, with what it has written since. The key that signs steps down itself, whatever
    /// its rank: if it was the last admin, nobody can change a right any more, ever. [`PreparedChange::foresee`] tells that before
    /// (`leaves_no_admin`).
    ///
    /// Errors and cancellation: as for [`grant`](User::grant).
    pub async fn remove_key(&self, database: &Id, key: &KeyId, as_of: Option<&Snapshot>) -> Result<Committed> {
        self.change(database, RightsChange::Remove { key: *key, as_of: as_of.cloned() }).await
    }

    /// Gives up what a key of this user has in a database, down to a right that is left.
    ///
    /// Errors and cancellation: as for [`grant`](User::grant); `NotFound` (`unknown_key`).
    pub async fn step_down(&self, database: &Id, key: &KeyId, to: Right) -> Result<Committed> {
        self.change(database, RightsChange::StepDown { key: *key, to }).await
    }

    /// Puts a key in the place of another one: see [`RightsChange::Rotate`]. If this user tracks the database with the old key, it
    /// is tracked with the new one, if that is a key of the user, too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eidetica::Result<()> {
    /// use eidetica::{Instance, auth::Right, crdt::Doc};
    ///
    /// let instance = Instance::open_url("memory:").await?;
    /// instance.create_user("alice", None).await?;
    /// let mut user = instance.login_user("alice", None).await?;
    /// let old = user.get_default_key()?;
    /// let database = user.create_database(Doc::new(), &old).await?;
    ///
    /// let new = user.add_private_key(Some("from now on")).await?;
    /// user.rotate_key(database.root_id(), &old, &new).await?;
    /// assert_eq!(database.current_permission().await?, Right::REMOVED);
    /// assert!(user.open_database(database.root_id()).await?.current_permission().await? > Right::admin(0));
    /// # instance.close().await
    /// # }
    /// ```
    ///
    /// Errors and cancellation: those of [`prepare_change`](User::prepare_change) and [`PreparedChange::commit`].
    pub async fn rotate_key(&self, database: &Id, key: &KeyId, successor: &KeyId) -> Result<Committed> {
        self.change(database, RightsChange::Rotate { key: *key, successor: *successor, as_of: None }).await
    }

    /// Creates a database with a recovery key: one that is stronger than all others, that of the creator included, and that is not
    /// used from day to day. [`Instance::generate_key`](crate::Instance::generate_key) makes one; put its seed down, and keep it apart
    /// from this device, before the database is created. With [`prepare_change_with`](User::prepare_change_with) it puts another key in the place of one that
    /// is lost or stolen. The key of the user is the strongest of all others, and the database is tracked.
    ///
    /// Errors: as for [`create_database`](User::create_database); `InvalidInput` if both are the same key. Cancellation: as there.
    pub async fn create_database_with_recovery(
        &mut self,
        settings: Doc,
        key: &KeyId,
        recovery: &PublicKey,
    ) -> Result<Database> {
        let secret = self.secret_key(key).await?;
        let database = self.instance.create_database_with_recovery_key(settings, &secret, recovery).await?;
        let (database_id, sync_settings) = (*database.root_id(), SyncSettings::default());
        self.track_database(TrackedDatabase { database_id, key_id: *key, sync_settings }).await?;
        Ok(database)
    }

    /// Makes a change on what is there by then.
    async fn change(&self, database: &Id, change: RightsChange) -> Result<Committed> {
        let mut attempt = 1;
        loop {
            match self.prepare_change(database, change.clone()).await?.commit().await {
                Err(error) if error.kind() == ErrorKind::Conflict && error.is_retryable() && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// The key of the user that signs a change.
    async fn signing_key(&self, database: &Database, change: &RightsChange) -> Result<KeyId> {
        let as_of = match change {
            RightsChange::StepDown { key, .. } => return Ok(*key),
            RightsChange::Remove { as_of, .. } | RightsChange::Rotate { as_of, .. } => as_of.as_ref(),
            _ => None,
        };
        let view = match as_of {
            Some(snapshot) => database.at(snapshot).await?,
            None => database.now(),
        };
        let strongest = self.strongest_in(&view).await?;
        let (right, key) = (strongest.0, strongest.1.filter(|_| strongest.0 >= Right::admin(0)));
        let RightsChange::Rotate { key: old, .. } = change else {
            return key.ok_or_else(|| refused::no_admin(database.root_id(), self.name()));
        };
        let has = view.right_of(*old).await?;
        match key {
            Some(key) if right > has => Ok(key),
            // It hands over what it has, or says why it cannot.
            _ if as_of.is_none() && self.has_key(old).await? => Ok(*old),
            _ => Err(refused::not_above(old, database.root_id(), self.name())),
        }
    }

    async fn prepare_signed(&self, database: Database, change: RightsChange) -> Result<PreparedChange> {
        let as_of = match &change {
            RightsChange::Remove { as_of, .. } | RightsChange::Rotate { as_of, .. } => as_of.as_ref(),
            _ => None,
        };
        let transaction = match as_of {
            Some(snapshot) => database.new_transaction_with_tips(&snapshot.0).await?,
            None => database.new_transaction().await?,
        };
        let by = database.author().ok_or_else(|| refused::no_right(database.root_id()))?;
        if let RightsChange::Remove { key, as_of: Some(_) } = &change
            && *key == by
        {
            return Err(refused::own_past(key));
        }
        let settings = transaction.get_store::<SettingsStore>(eidetica_core::auth::STORE).await?;
        let right = match &change {
            RightsChange::Grant { key, right } => {
                let (permission, priority) = parts(*right)?;
                settings.grant(key, permission, priority).await?;
                settings.own_right(key).await?.max(*right)
            }
            RightsChange::Limit { key, right } | RightsChange::StepDown { key, to: right } if *right > Right::NONE => {
                let (permission, priority) = parts(*right)?;
                settings.limit(key, permission, priority).await?;
                settings.own_right(key).await?.min(*right)
            }
            RightsChange::Limit { key, .. } | RightsChange::StepDown { key, .. } | RightsChange::Remove { key, .. } => {
                settings.remove(key).await?;
                Right::REMOVED
            }
            RightsChange::Everybody { right } => {
                settings.set_global_permission(right.permission()).await?;
                *right
            }
            RightsChange::Rotate { key, successor, .. } if *key == by => settings.hand_over(successor).await?,
            RightsChange::Rotate { key, successor, .. } => settings.replace(key, successor).await?,
        };
        Ok(PreparedChange { user: self.clone(), database, transaction, change, by, right })
    }

    async fn has_key(&self, key: &PublicKey) -> Result<bool> {
        Ok(self.list_keys().await?.iter().any(|own| own.id == *key))
    }
}

/// A right as stores of settings take it.
fn parts(right: Right) -> Result<(Permission, u32)> {
    let nothing = || Error::new(ErrorKind::InvalidInput, "a grant gives something; `remove_key` takes all");
    Ok((right.permission().ok_or_else(nothing)?, right.priority().unwrap_or(0)))
}
