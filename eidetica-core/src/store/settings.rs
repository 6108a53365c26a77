//! The settings of a database: its name, other values, and who may do what.

use eidetica_contract::{Error, ErrorKind, PublicKey, Result};

use super::doc::DocStore;
use super::handle::{StoreHandle, StoreType};
use super::stage::Staged;
use crate::auth::{self, Permission, Right, Setting, Subject};
use crate::doc::Doc;
use crate::error::invalid;
use crate::value::Value;

/// The settings store. Changing anything in it takes the right of an admin.
///
/// # Errors and cancellation
///
/// Methods that read answer the errors of the backend; dropping their futures changes nothing. Methods that change something
/// stage it in the transaction, and nothing is judged or written before its commit: they answer
/// [`ReadOnly`](eidetica_contract::ErrorKind::ReadOnly) outside a transaction and
/// [`Closed`](eidetica_contract::ErrorKind::Closed) after its commit, and when their future is dropped the change is staged
/// whole or not at all. Whether the author has the right for it is answered by the commit, as
/// [`PermissionDenied`](eidetica_contract::ErrorKind::PermissionDenied).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let key = SecretKey::generate(&SystemEnvironment)?;
/// # let database = engine.create_database(Doc::new(), &key).await?;
/// use eidetica_core::auth::Permission;
/// use eidetica_core::store::SettingsStore;
///
/// let friend = SecretKey::generate(&SystemEnvironment)?.public();
/// let transaction = database.new_transaction().await?;
/// let settings = transaction.get_store::<SettingsStore>("_settings").await?;
/// settings.set_name("notes").await?;
/// settings.set_auth_key(&friend, Permission::Write, 0).await?;
/// transaction.commit().await?;
/// assert_eq!(database.get_settings().await?.get_name().await?, "notes");
/// # engine.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct SettingsStore {
    values: DocStore,
    handle: StoreHandle,
}

impl StoreType for SettingsStore {
    const KIND: &'static str = auth::KIND;

    fn open(handle: StoreHandle) -> Self {
        SettingsStore { values: DocStore::on(handle.clone()), handle }
    }
}

impl SettingsStore {
    /// The name of the database. Errors: `NotFound` if it has none.
    pub async fn get_name(&self) -> Result<String> {
        self.values.get_string("name").await
    }

    /// Sets the name of the database. Errors: `ReadOnly` outside a transaction.
    pub async fn set_name(&self, name: &str) -> Result<()> {
        self.values.set("name", name).await
    }

    /// All values.
    pub async fn get_all(&self) -> Result<Doc> {
        self.values.get_all().await
    }

    /// A value. Errors: `NotFound`.
    pub async fn get(&self, key: &str) -> Result<Value> {
        self.values.get(key).await
    }

    /// Sets a value. Errors: as for [`DocStore::set`].
    pub async fn set(&self, key: &str, value: impl Into<Value>) -> Result<()> {
        self.values.set(key, value).await
    }

    /// Gives a key a right: raises or lowers it, whichever it takes. `priority` counts for admins only; greater is stronger,
    /// and it must be below that of who gives it.
    ///
    /// Whether the right may be changed is judged at the commit.
    pub async fn set_auth_key(&self, key: &PublicKey, permission: Permission, priority: u32) -> Result<()> {
        self.change(Subject::Key(*key), right_of(permission, priority)).await
    }

    /// Grants a key at least this right, whatever it has by then elsewhere. `priority` counts for admins only.
    ///
    /// The commit answers `PermissionDenied` if the key has as much already, or if it is not below the author in rank.
    pub async fn grant(&self, key: &PublicKey, permission: Permission, priority: u32) -> Result<()> {
        self.set_right(Subject::Key(*key), Setting::Grant(right_of(permission, priority)))
    }

    /// Leaves a key at most this right, whatever it has by then elsewhere. What the key writes beside this commit, and what has not
    /// been seen here, counts only as far as the right that is left.
    ///
    /// The commit answers `PermissionDenied` if the key has no more than that, or if it is not below the author in rank.
    pub async fn limit(&self, key: &PublicKey, permission: Permission, priority: u32) -> Result<()> {
        self.set_right(Subject::Key(*key), Setting::Limit(right_of(permission, priority)))
    }

    /// Removes a key: takes everything from it, also what everybody may, and strikes all that it has written and that this
    /// transaction has not seen. [`Database::remove_as_of`](crate::Database::remove_as_of) strikes also what has been seen.
    pub async fn remove(&self, key: &PublicKey) -> Result<()> {
        self.set_right(Subject::Key(*key), Setting::Limit(Right::NONE))
    }

    /// Lowers the own key of the transaction: to a permission, or to nothing. It must be all that the transaction does. What the
    /// key has written stays.
    ///
    /// Errors: `ReadOnly` outside a transaction; `PermissionDenied` without a key.
    pub async fn step_down(&self, to: Option<Permission>) -> Result<()> {
        let right = to.map_or(Right::NONE, |permission| right_of(permission, 0));
        let own = self.handle.author()?;
        self.set_right(Subject::Key(own), Setting::Limit(right))
    }

    /// Hands the right of the key of this transaction over to another one: the successor is granted what this key can give at
    /// most, which is an admin one priority below its own, and right above that entry, in the same batch, this key steps down to
    /// nothing. Either both entries come in, or neither. Answers what the successor has then.
    ///
    /// Two entries, since nobody can give as much as he has, and since an entry that steps down holds nothing else. What the key has
    /// written stays, also what nobody here has seen yet; [`remove`](SettingsStore::remove) by the successor strikes that. If the same
    /// key hands over on two devices, and neither has heard of the other, both grants are void and nobody has the right: do it on one.
    ///
    /// Errors: `PermissionDenied` if the key has no right that it could hand over: it takes an admin of priority 1 or more, and for all
    /// others an admin above them who [`replace`](SettingsStore::replace)s them; `InvalidInput` for the same key; those of all methods.
    /// The commit answers `Conflict`, to be tried again, if something has come in since the transaction began.
    pub async fn hand_over(&self, successor: &PublicKey) -> Result<Right> {
        let own = self.handle.author()?;
        self.check_other(&own, successor)?;
        let (has, there) = (self.own_right(&own).await?, self.own_right(successor).await?);
        let Some(below) = has.priority().and_then(|priority| priority.checked_sub(1)) else {
            let message = "this key cannot hand its right over, since nobody can give as much as he has and only admins give; \
                           have an admin above it replace it by the other key";
            return Err(Error::new(ErrorKind::PermissionDenied, message).with("has", has).with("key", own));
        };
        if there < Right::admin(below) {
            self.set_right(Subject::Key(*successor), Setting::Grant(Right::admin(below)))?;
        }
        self.handle.step_down_after()?;
        Ok(there.max(Right::admin(below)))
    }

    /// Puts one key in the place of another, in one entry: the successor is granted what the other one has, and the other one is removed,
    /// with what it has written beside this entry. Answers what the successor has then.
    ///
    /// Errors: `NotFound` if the key has no right of its own; `InvalidInput` for the same key; those of all methods. The commit answers
    /// `PermissionDenied` unless the author is above both.
    pub async fn replace(&self, key: &PublicKey, successor: &PublicKey) -> Result<Right> {
        self.check_other(key, successor)?;
        let (has, there) = (self.own_right(key).await?, self.own_right(successor).await?);
        if has <= Right::NONE {
            let message = "the key has no right of its own in this database that another one could take over";
            return Err(Error::new(ErrorKind::NotFound, message).with("key", key).with("has", has));
        }
        if there < has {
            self.set_right(Subject::Key(*successor), Setting::Grant(has))?;
        }
        self.set_right(Subject::Key(*key), Setting::Limit(Right::NONE))?;
        Ok(there.max(has))
    }

    /// The right that a key has of its own, as it is seen here: what was granted and limited for it alone.
    pub async fn own_right(&self, key: &PublicKey) -> Result<Right> {
        self.handle.own_right(Subject::Key(*key)).await
    }

    fn check_other(&self, key: &PublicKey, successor: &PublicKey) -> Result<()> {
        match key == successor {
            true => Err(invalid("a key cannot be its own successor").with("key", key)),
            false => Ok(()),
        }
    }

    fn set_right(&self, subject: Subject, setting: Setting) -> Result<()> {
        self.handle.stage(|staged| {
            if let Staged::Settings { rights, .. } = staged {
                rights.insert(subject, setting);
            }
        })
    }

    /// Takes everything from a key, also what everybody may. One that has nothing is left as it is.
    pub async fn revoke_auth_key(&self, key: &PublicKey) -> Result<()> {
        self.change(Subject::Key(*key), Right::NONE).await
    }

    /// Says what everybody may: nothing, read, or write. Errors: `InvalidInput` for admin.
    pub async fn set_global_permission(&self, permission: Option<Permission>) -> Result<()> {
        let right = match permission {
            None => Right::NONE,
            Some(Permission::Read) => Right::READ,
            Some(Permission::Write) => Right::WRITE,
            Some(Permission::Admin) => return Err(invalid("everybody can have at most the right to write")),
        };
        self.change(Subject::Everybody, right).await
    }

    async fn change(&self, subject: Subject, right: Right) -> Result<()> {
        let has = self.handle.own_right(subject).await?;
        // A key that never had a right of its own has what everybody has until that is taken from it, too. Everybody has nothing
        // more to lose.
        let taken = match subject {
            Subject::Key(_) => Right::REMOVED,
            Subject::Everybody => Right::NONE,
        };
        let wanted = if right == Right::NONE { taken } else { right };
        let setting = if wanted > has { Setting::Grant(wanted) } else { Setting::Limit(right) };
        self.handle.stage(|staged| {
            if let Staged::Settings { rights, .. } = staged {
                match wanted == has {
                    true => drop(rights.remove(&subject)),
                    false => drop(rights.insert(subject, setting)),
                }
            }
        })?;
        Ok(())
    }
}

fn right_of(permission: Permission, priority: u32) -> Right {
    match permission {
        Permission::Read => Right::READ,
        Permission::Write => Right::WRITE,
        Permission::Admin => Right::admin(priority),
    }
}
