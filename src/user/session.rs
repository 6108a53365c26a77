//! A user who is logged in.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use eidetica_contract::{ErrorKind, Result};
use eidetica_core::LocalChange;

use super::account::Master;
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
        let engine = self.instance.engine().clone();
        let environment = engine.environment();
        self.master()?;
        loop {
            let unlocked = self.instance.unlock(self.name(), old).await?;
            let before = &unlocked.master;
            // A master key that has lain in the open must not protect anything later.
            let master = match (old, new) {
                (Some(_), Some(_)) => before.clone(),
                _ => Master { number: before.number + 1, key: seal::fresh(environment)? },
            };
            let mut user = unlocked.user;
            user.lock_with(environment, new, &master).await?;
            let row = rows::user(self.name());
            let mut changes =
                vec![LocalChange { name: row, before: Some(unlocked.stored), after: Some(rows::write(&user)) }];
            if master.number != before.number {
                changes.extend(super::ring::resealed(&engine, user.id, before, &master).await?);
            }
            match engine.change_locals(changes).await {
                // Another session has changed the user, or added a key.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    let mut held = self.session.master.write().unwrap_or_else(PoisonError::into_inner);
                    if held.is_some() {
                        *held = Some(master);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Ends the session, and forgets its keys: clones of this value answer `Closed` from then on. Databases that it has opened
    /// keep the key that they write with until they are dropped.
    pub fn logout(self) {
        *self.session.master.write().unwrap_or_else(PoisonError::into_inner) = None;
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
