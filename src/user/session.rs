//! A user who is logged in.

use std::fmt;
#[cfg(feature = "sync")]
use std::sync::Weak;
use std::sync::{Arc, PoisonError, RwLock};

use eidetica_contract::{ErrorKind, Result};
use eidetica_core::LocalChange;

use super::account::{Master, Unlocked};
use super::rows::{self, UserId, UserRow};
use super::{KeyId, refused, seal};
use crate::Instance;

/// A user who is logged in. Clones are the same session; each login is a session of its own.
///
/// What a session changes is stored when the call returns, and all other sessions see it, those of other processes included.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica::Result<()> {
/// use eidetica::{Instance, crdt::Doc};
///
/// let instance = Instance::open_url("memory:").await?;
/// instance.create_user("alice", None).await?;
/// let mut user = instance.login_user("alice", None).await?;
///
/// let laptop = user.add_private_key(Some("laptop")).await?;
/// let settings: Doc = [("name", "notes")].into_iter().collect();
/// let database = user.create_database(settings, &laptop).await?;
/// assert_eq!(user.find_database("notes").await?[0].root_id(), database.root_id());
/// assert_eq!(user.databases().await?[0].key_id, laptop);
/// user.logout();
/// # instance.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct User {
    pub(super) instance: Instance,
    session: Arc<Session>,
}

/// A session, without keeping it alive.
#[cfg(feature = "sync")]
pub(crate) struct WeakUser {
    instance: crate::instance::WeakInstance,
    session: Weak<Session>,
}

#[cfg(feature = "sync")]
impl WeakUser {
    /// The session, if anybody still has it.
    pub fn upgrade(&self) -> Option<User> {
        Some(User { session: self.session.upgrade()?, instance: self.instance.upgrade()? })
    }
}

struct Session {
    name: String,
    id: UserId,
    /// The oldest key, which never changes.
    default_key: KeyId,
    /// `None` after the logout. The lock is never held across an await.
    master: RwLock<Option<Master>>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.session.name).finish_non_exhaustive()
    }
}

impl User {
    /// Begins a session. Opening the first key shows that the keys belong to this user.
    pub(super) async fn begin(instance: Instance, user: UserRow, master: Master) -> Result<User> {
        let keys = super::ring::list(&instance, user.id).await?;
        let default_key = keys.first().ok_or_else(|| rows::damaged("a user without a key"))?.id;
        let session = Session { name: user.name, id: user.id, default_key, master: RwLock::new(Some(master)) };
        let user = User { instance, session: Arc::new(session) };
        user.secret_key(&default_key).await?;
        #[cfg(feature = "sync")]
        {
            user.complete_grants().await?;
            user.instance.usher().greet(&user);
        }
        Ok(user)
    }

    /// The name of the user.
    pub fn name(&self) -> &str {
        &self.session.name
    }

    /// The key that the user was made with.
    ///
    /// Errors: `Closed` after the logout.
    pub fn get_default_key(&self) -> Result<KeyId> {
        self.master().map(|_| self.session.default_key)
    }

    /// Changes the password, sets one (from `None`), or takes it away (to `None`). The user who has none is not protected;
    /// see [`user`](crate::user).
    ///
    /// From password to password only the row of the user changes, and other sessions go on. Otherwise all keys are sealed
    /// anew, and other sessions have to log in again.
    ///
    /// Errors: as for [`Instance::login_user`] if `old` is not the password. Cancellation and crashes: the old password holds,
    /// or the new one, with all keys.
    pub async fn change_password(&mut self, old: Option<&str>, new: Option<&str>) -> Result<()> {
        self.master()?;
        loop {
            let unlocked = self.instance.unlock(self.name(), old).await?;
            let environment = self.instance.engine().environment();
            let mut master = unlocked.master.clone();
            if old.is_none() || new.is_none() {
                // A master key that has lain in the open must not protect anything later.
                master = Master { number: master.number + 1, key: seal::fresh(environment)? };
            }
            let mut locked = unlocked.user.clone();
            locked.lock_with(environment, new, &master).await?;
            if self.store_lock(&unlocked, &locked, &master).await? {
                let mut held = self.session.master.write().unwrap_or_else(PoisonError::into_inner);
                if held.is_some() {
                    *held = Some(master);
                }
                return Ok(());
            }
        }
    }

    /// Stores the lock and the master key of `locked`; false if another session has stored others meanwhile. Keys that are
    /// added at the same time only make it try again, without hashing anew.
    async fn store_lock(&self, unlocked: &Unlocked, locked: &UserRow, master: &Master) -> Result<bool> {
        let engine = self.instance.engine();
        loop {
            let stored = self.instance.stored_user(self.name()).await?;
            let (before, mut user) = stored.ok_or_else(|| refused::unknown_user(self.name()))?;
            if user.master_key != unlocked.user.master_key {
                return Ok(false);
            }
            (user.lock, user.master) = (locked.lock.clone(), locked.master);
            user.master_key.clone_from(&locked.master_key);
            let name = rows::user(self.name());
            let mut changes = vec![LocalChange { name, before: Some(before), after: Some(rows::write(&user)) }];
            if master.number != unlocked.master.number {
                changes.extend(super::ring::resealed(engine, user.id, &unlocked.master, master).await?);
            }
            match engine.change_locals(changes).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done.map(|()| true),
            }
        }
    }

    /// Ends the session, and forgets its keys: clones of this value answer `Closed` from then on. Databases that it has opened
    /// keep the key that they write with until they are dropped.
    pub fn logout(self) {
        *self.session.master.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    #[cfg(feature = "sync")]
    pub(crate) fn downgrade(&self) -> WeakUser {
        WeakUser { instance: self.instance.downgrade(), session: Arc::downgrade(&self.session) }
    }

    pub(super) fn id(&self) -> UserId {
        self.session.id
    }

    /// The master key. Errors: `Closed` after the logout.
    pub(super) fn master(&self) -> Result<Master> {
        let held = self.session.master.read().unwrap_or_else(PoisonError::into_inner);
        held.clone().ok_or_else(|| refused::logged_out(self.name()))
    }
}
