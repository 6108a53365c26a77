//! The keys of a user.

use eidetica_contract::{ErrorKind, Result};
use eidetica_core::{Engine, Environment, LocalChange, SecretKey};

use super::account::Master;
use super::rows::{self, KeyRow, UserId};
use super::{KeyId, User, refused, seal};
use crate::Instance;

/// A key of a user, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserKey {
    /// The public key.
    pub id: KeyId,
    /// What the user calls it. Names are for people; several keys may have the same.
    pub name: Option<String>,
}

impl User {
    /// Makes a key. `name` is what the user calls it.
    ///
    /// Errors: `Closed` after the logout; `Unauthenticated` (`stale_session`) if the password was set or removed elsewhere.
    /// Cancellation: the key exists or not.
    pub async fn add_private_key(&mut self, name: Option<&str>) -> Result<KeyId> {
        let key = self.instance.generate_key()?;
        self.import_private_key(key, name).await
    }

    /// Takes a key that there is already, such as one from another device. One that the user has is left as it is.
    ///
    /// Errors and cancellation: as for [`add_private_key`](User::add_private_key).
    pub async fn import_private_key(&mut self, key: SecretKey, name: Option<&str>) -> Result<KeyId> {
        let (engine, id, master) = (self.instance.engine(), key.public(), self.master()?);
        loop {
            if engine.local(&rows::key(self.id(), &id)).await?.is_some() {
                return Ok(id);
            }
            let stored = self.instance.stored_user(self.name()).await?;
            let (before, mut user) = stored.ok_or_else(|| refused::unknown_user(self.name()))?;
            user.check_master(master.number)?;
            let row = new_row(engine.environment(), self.id(), &master, user.next_key, name, &key)?;
            user.next_key += 1;
            // The row of the user changes along, so that a change of the password never misses a key.
            let counted =
                LocalChange { name: rows::user(self.name()), before: Some(before), after: Some(rows::write(&user)) };
            #[cfg_attr(not(feature = "sync"), expect(unused_mut, reason = "nothing goes along"))]
            let mut changes = vec![counted, row];
            #[cfg(feature = "sync")]
            changes.push(self.listing_grant(&key).await?);
            match engine.change_locals(changes).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done.map(|()| id),
            }
        }
    }

    /// The keys of the user, the oldest first.
    pub async fn list_keys(&self) -> Result<Vec<UserKey>> {
        self.master()?;
        list(&self.instance, self.id()).await
    }

    /// A private key. Errors: `NotFound` if it is none of this user's.
    pub(super) async fn secret_key(&self, key: &KeyId) -> Result<SecretKey> {
        let master = self.master()?;
        let row = self.instance.engine().local(&rows::key(self.id(), key)).await?;
        let row: KeyRow = rows::read(&row.ok_or_else(|| refused::unknown_key(key))?, "a key")?;
        if row.master != master.number {
            return Err(refused::stale_session(self.name()));
        }
        open(self.id(), &master, key, &row)
    }
}

/// The keys of a user, the oldest first.
pub(super) async fn list(instance: &Instance, user: UserId) -> Result<Vec<UserKey>> {
    let mut keys = Vec::new();
    for (id, row) in stored(instance.engine(), user).await? {
        let row: KeyRow = rows::read(&row.1, "a key")?;
        keys.push((row.number, UserKey { id, name: row.name }));
    }
    keys.sort_by_key(|(number, key)| (*number, key.id));
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

/// The change that stores a new key.
pub(super) fn new_row(
    environment: &dyn Environment,
    user: UserId,
    master: &Master,
    number: u64,
    name: Option<&str>,
    key: &SecretKey,
) -> Result<LocalChange> {
    let id = key.public();
    let sealed = seal::seal(environment, &master.key, &context(&user, &id), &key.seed())?;
    let row = KeyRow { number, name: name.map(str::to_owned), master: master.number, sealed };
    Ok(LocalChange { name: rows::key(user, &id), before: None, after: Some(rows::write(&row)) })
}

/// The changes that bring all keys of a user from one master key to another.
pub(super) async fn resealed(engine: &Engine, user: UserId, from: &Master, to: &Master) -> Result<Vec<LocalChange>> {
    let mut changes = Vec::new();
    for (id, (name, before)) in stored(engine, user).await? {
        let mut row: KeyRow = rows::read(&before, "a key")?;
        let key = open(user, from, &id, &row)?;
        row.sealed = seal::seal(engine.environment(), &to.key, &context(&user, &id), &key.seed())?;
        row.master = to.number;
        changes.push(LocalChange { name, before: Some(before), after: Some(rows::write(&row)) });
    }
    Ok(changes)
}

type Stored = (KeyId, (String, bytes::Bytes));

async fn stored(engine: &Engine, user: UserId) -> Result<Vec<Stored>> {
    let prefix = rows::keys(user);
    let found = engine.locals(&prefix).await?.into_iter();
    found.map(|row| Ok((row.0[prefix.len()..].parse().map_err(|_| rows::damaged("the name of a key"))?, row))).collect()
}

fn open(user: UserId, master: &Master, id: &KeyId, row: &KeyRow) -> Result<SecretKey> {
    let seed = seal::open(&master.key, &context(&user, id), &row.sealed);
    let key = seed.map(|seed| SecretKey::from_seed(&seed)).filter(|key| key.public() == *id);
    key.ok_or_else(|| rows::damaged("a sealed key").with("key", id))
}

/// What a sealed key is bound to.
fn context<'a>(user: &'a UserId, id: &'a KeyId) -> [&'a [u8]; 3] {
    [b"eidetica key of a user", &user.0, id.as_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use eidetica_core::SystemEnvironment;

    #[test]
    fn a_sealed_key_is_bound_to_its_user_and_its_public_key() {
        let (one, two) = (UserId([1; 16]), UserId([2; 16]));
        let [key, other] = [3, 4].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let master = Master { number: 1, key: seal::fresh(&SystemEnvironment).unwrap() };
        let change = new_row(&SystemEnvironment, one, &master, 0, None, &key).unwrap();
        let row: KeyRow = rows::read(&change.after.unwrap(), "a key").unwrap();
        assert_eq!(open(one, &master, &key.public(), &row).unwrap().seed(), key.seed());
        assert!(open(two, &master, &key.public(), &row).is_err());
        assert!(open(one, &master, &other.public(), &row).is_err());
        assert!(seal::open(&master.key, &context(&one, &other.public()), &row.sealed).is_none());
    }
}
