//! Making users, and letting them in.

use bytes::Bytes;
use eidetica_contract::{ErrorKind, Result};
use eidetica_core::{Environment, LocalChange, SecretKey};
use zeroize::Zeroizing;

use super::password::Lock;
use super::ring;
use super::rows::{self, USERS, UserId, UserRow};
use super::seal::{self, Secret};
use super::{User, refused};
use crate::Instance;

/// The key that seals the keys of a user.
#[derive(Clone)]
pub(super) struct Master {
    pub number: u64,
    pub key: Secret,
}

/// A user whose password was right.
pub(super) struct Unlocked {
    pub user: UserRow,
    pub master: Master,
}

impl Instance {
    /// Makes a user with a first key. Returns the id of the user, which stays what it is and says nothing to people.
    ///
    /// A name has 1 to 256 bytes, without control characters; names are compared byte by byte. A password may be anything:
    /// `Some("")` is one, though a bad one. **Without a password the keys of the user are protected by nothing but the mode of
    /// the store's files**; see [`user`](crate::user).
    ///
    /// Errors: `AlreadyExists` if the name is taken; `InvalidInput` for a name that cannot be. Cancellation: the user exists,
    /// with the key, or does not.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eidetica::Result<()> {
    /// # let instance = eidetica::Instance::open_url("memory:").await?;
    /// instance.create_user("alice", Some("correct horse")).await?;
    /// let alice = instance.login_user("alice", Some("correct horse")).await?;
    /// assert_eq!(alice.name(), "alice");
    ///
    /// let error = instance.login_user("alice", Some("correct house")).await.unwrap_err();
    /// assert_eq!(error.kind(), eidetica::ErrorKind::Unauthenticated);
    /// # instance.close().await
    /// # }
    /// ```
    pub async fn create_user(&self, name: &str, password: Option<&str>) -> Result<String> {
        self.create_user_with_key(name, password, self.generate_key()?).await
    }

    /// Makes a user whose first key is one that there is already.
    ///
    /// Errors and cancellation: as for [`create_user`](Instance::create_user).
    pub async fn create_user_with_key(&self, name: &str, password: Option<&str>, key: SecretKey) -> Result<String> {
        rows::check_name(name)?;
        let environment = self.engine().environment();
        // Told at once where it can be; the batch decides.
        if self.engine().local(&rows::user(name)).await?.is_some() {
            return Err(refused::name_taken(name));
        }
        let mut id = UserId([0; 16]);
        environment.random(&mut id.0)?;
        let master = Master { number: 1, key: seal::fresh(environment)? };
        let mut user =
            UserRow { id, name: name.to_owned(), next_key: 1, master: 0, lock: None, master_key: Vec::new() };
        user.lock_with(environment, password, &master).await?;
        let made = self.engine().change_locals(vec![
            LocalChange { name: rows::user(name), before: None, after: Some(rows::write(&user)) },
            ring::new_row(environment, id, &master, 0, None, &key)?,
        ]);
        match made.await {
            Err(error) if error.kind() == ErrorKind::Conflict => Err(refused::name_taken(name)),
            done => done.map(|()| id.to_string()),
        }
    }

    /// Lets a user in.
    ///
    /// After a failure the next attempt on the same name waits: a quarter of a second, then twice as long each time, up to
    /// half a minute, also after a restart. A success, or an hour without failures, ends that.
    ///
    /// Errors, with the context pair `reason`: `NotFound` (`unknown_user`); `Unauthenticated` (`wrong_password`, or
    /// `missing_password`); `InvalidInput` (`superfluous_password`); `Corrupted` (`damaged`) if rows were tampered with.
    /// Cancellation: nothing has happened.
    pub async fn login_user(&self, name: &str, password: Option<&str>) -> Result<User> {
        let unlocked = self.unlock(name, password).await?;
        User::begin(self.clone(), unlocked.user, unlocked.master).await
    }

    /// The names of all users, in order.
    pub async fn list_users(&self) -> Result<Vec<String>> {
        let rows = self.engine().locals(USERS).await?;
        Ok(rows.into_iter().map(|(name, _)| name[USERS.len()..].to_owned()).collect())
    }

    /// Checks a password, or that there is none.
    pub(super) async fn unlock(&self, name: &str, password: Option<&str>) -> Result<Unlocked> {
        let Some(password) = password else {
            let (_, user) = self.stored_user(name).await?.ok_or_else(|| refused::unknown_user(name))?;
            let key = match user.lock {
                None => user.master_key[..].try_into().map_err(|_| rows::damaged("a master key"))?,
                Some(_) => return Err(refused::missing_password(name)),
            };
            let master = Master { number: user.master, key: Zeroizing::new(key) };
            return Ok(Unlocked { user, master });
        };
        // To be told at once, without being counted.
        if let Some((_, UserRow { lock: None, .. })) = self.stored_user(name).await? {
            return Err(refused::superfluous_password(name));
        }
        let turn = self.attempts().turn(self.engine(), name).await?;
        let tried = self.try_password(name, password).await?;
        turn.end(self.engine(), tried.is_err()).await?;
        tried
    }

    /// Tries a password. Takes the same time whether there is such a user or not. The inner error is what counts as a
    /// failure.
    async fn try_password(&self, name: &str, password: &str) -> Result<Result<Unlocked>> {
        let found = self.stored_user(name).await?;
        let lock = match found.as_ref().map(|(_, user)| &user.lock) {
            Some(Some(lock)) => lock.clone(),
            Some(None) => return Err(refused::superfluous_password(name)),
            None => Lock::new(self.engine().environment())?,
        };
        let key = lock.key(password).await?;
        let Some((_, user)) = found else { return Ok(Err(refused::unknown_user(name))) };
        let Some(opened) = seal::open(&key, &master_context(&user.id, name), &user.master_key) else {
            return Ok(Err(refused::wrong_password(name)));
        };
        let master = Master { number: user.master, key: opened };
        Ok(Ok(Unlocked { user, master }))
    }

    /// The row of a user, as it is and as it reads.
    pub(super) async fn stored_user(&self, name: &str) -> Result<Option<(Bytes, UserRow)>> {
        let row = self.engine().local(&rows::user(name)).await?;
        row.map(|row| UserRow::parse(name, &row).map(|user| (row, user))).transpose()
    }
}

impl UserRow {
    /// Puts the master key under a password, or beside none.
    pub(super) async fn lock_with(
        &mut self,
        environment: &dyn Environment,
        password: Option<&str>,
        master: &Master,
    ) -> Result<()> {
        self.master = master.number;
        (self.lock, self.master_key) = match password {
            None => (None, master.key.to_vec()),
            Some(password) => {
                let lock = Lock::new(environment)?;
                let key = lock.key(password).await?;
                let sealed = seal::seal(environment, &key, &master_context(&self.id, &self.name), &master.key)?;
                (Some(lock), sealed)
            }
        };
        Ok(())
    }
}

/// What a sealed master key is bound to.
fn master_context<'a>(id: &'a UserId, name: &'a str) -> [&'a [u8]; 3] {
    [b"eidetica master key of a user", &id.0, name.as_bytes()]
}
