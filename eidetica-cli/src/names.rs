//! Names of databases.
//!
//! Each store keeps its own names, for all of its users: the value `db-name/NAME` of the node holds an id. The name in the
//! settings of a database, which travels with it, is where they come from.

use eidetica::crdt::Doc;
use eidetica::{Database, Error, ErrorKind, Id};

use crate::key::KeyFile;
use crate::session::Session;

const PREFIX: &str = "db-name/";
/// How many names a hint lists.
const HINTS: usize = 20;

/// A database in a list.
pub struct Named {
    pub name: String,
    pub id: Id,
    /// False for a database that is called by its settings alone, because a name of this store was never written: a
    /// command was interrupted in between.
    pub local: bool,
}

/// All databases of the store, by name. One without any name, or whose name cannot be read, goes by its id.
pub async fn all(session: &Session) -> Result<Vec<Named>, Error> {
    Ok(listed(session).await?.0)
}

/// The same, and why a name could not be read, if there is one.
async fn listed(session: &Session) -> Result<(Vec<Named>, Option<Error>), Error> {
    let mut unread = None;
    let engine = session.instance.engine();
    let mut ids = engine.databases().await?;
    let mut named = Vec::new();
    for (name, value) in engine.locals(PREFIX).await? {
        // One that cannot be read names nothing; its database goes by its settings.
        let Some(id) = parse(&value) else { continue };
        ids.retain(|other| *other != id);
        named.push(Named { name: name[PREFIX.len()..].to_owned(), id, local: true });
    }
    for id in ids {
        let name = match async { session.read(&id).await?.get_name().await }.await {
            Ok(name) => name,
            Err(error) if concerns_one(&error) => {
                unread = Some(error.with("database", id));
                id.to_string()
            }
            Err(error) => return Err(error),
        };
        named.push(Named { name, id, local: false });
    }
    named.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((named, unread))
}

/// Names that lead nowhere, since what is written down for them cannot be read. They are of this store alone, and thus not to be
/// had from the entries.
pub async fn unreadable(session: &Session) -> Result<Vec<String>, Error> {
    let written = session.instance.engine().locals(PREFIX).await?;
    let unreadable = written.into_iter().filter(|(_, value)| parse(value).is_none());
    Ok(unreadable.map(|(name, _)| name[PREFIX.len()..].to_owned()).collect())
}

/// True for an error that says something of one database, and nothing of the others in the store.
pub fn concerns_one(error: &Error) -> bool {
    use ErrorKind::{Corrupted, Locked, NotFound, WrongType};
    matches!(error.kind(), Corrupted | Locked | NotFound | WrongType)
}

/// The database with this name, or this id. Errors: `NotFound`, with the names there are.
pub async fn find(session: &Session, name: &str) -> Result<Id, Error> {
    let value = session.instance.engine().local(&format!("{PREFIX}{name}")).await?;
    if let Some(id) = value.as_deref().and_then(parse) {
        return Ok(id);
    }
    let (all, unread) = listed(session).await?;
    let id: Option<Id> = name.parse().ok();
    let found: Vec<&Named> = all.iter().filter(|other| other.name == name || Some(other.id) == id).collect();
    match (&found[..], unread) {
        ([one], _) => Ok(one.id),
        // It may be the one whose name could not be read; a second one of its name must not come of that.
        ([], Some(unread)) if unread.kind() == ErrorKind::NotFound => {
            let message = "the name of a database cannot be read, and it may be this one; `verify` shows what is wrong";
            Err(Error::new(ErrorKind::Corrupted, message).caused_by(unread))
        }
        ([], Some(unread)) => Err(unread),
        ([], None) => {
            let names: Vec<&str> = all.iter().take(HINTS).map(|named| named.name.as_str()).collect();
            let more = if all.len() > HINTS { ", …" } else { "" };
            let message = "this store has no such database; see `there_are` for those it has";
            let error = Error::new(ErrorKind::NotFound, message).with("database", name);
            let error = error.with("there_are", format!("{}{more}", names.join(", ")));
            Err(error.with("store", &session.url))
        }
        _ => {
            let message = "several databases go by this name; use an id from `list --json`";
            Err(Error::new(ErrorKind::InvalidInput, message).with("database", name))
        }
    }
}

/// The database with this name to write, created if it is new. True: it is.
///
/// `recovery` is where to put the recovery key of one that is created. Errors: `AlreadyExists` if there is something.
pub async fn find_or_create(
    session: &Session,
    name: &str,
    recovery: Option<&KeyFile>,
) -> Result<(Database, bool), Error> {
    let found = match find(session, name).await {
        Ok(id) => Some(id),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if let Some(id) = found {
        if let Some(file) = recovery {
            let message =
                "the database is there already, and a recovery key is made together with one; leave --recovery-key out";
            let error = Error::new(ErrorKind::AlreadyExists, message).with("database", name);
            return Err(error.with("path", file.path().display()));
        }
        return Ok((session.write(&id).await?, false));
    }
    check(name)?;
    let mut user = session.user_or_new().await?.clone();
    // Another process may be about to create the same database.
    let lock = session.lock_creation().await?;
    match find(session, name).await {
        Ok(id) => return Ok((session.write(&id).await?, false)),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let settings: Doc = [("name", name)].into_iter().collect();
    let key = user.get_default_key()?;
    let database = match recovery {
        None => user.create_database(settings, &key).await?,
        Some(file) => {
            // First it is on the disk: without it nobody is above the first admin, and that cannot be made up for.
            let recovery = session.instance.generate_key()?;
            file.create(&recovery)?;
            user.create_database_with_recovery(settings, &key, &recovery.public()).await?
        }
    };
    give(session, name, database.root_id()).await?;
    drop(lock);
    Ok((database, true))
}

/// Gives a database a name in this store. Errors: `AlreadyExists` if another one has it.
pub async fn give(session: &Session, name: &str, id: &Id) -> Result<(), Error> {
    check(name)?;
    let engine = session.instance.engine();
    let row = format!("{PREFIX}{name}");
    // What leads nowhere keeps no name.
    let before = engine.local(&row).await?.filter(|value| parse(value).is_none());
    match engine.set_local(&row, before, id.to_string()).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let message = "another database of this store has this name; choose another one with --name";
            Err(Error::new(ErrorKind::AlreadyExists, message).with("name", name))
        }
        result => result,
    }
}

/// Sees to it that a database has a name here, and returns it: the wanted one, else that of its settings, else another.
pub async fn call(
    session: &Session,
    database: &Database,
    wanted: Option<&str>,
    else_called: &str,
) -> Result<String, Error> {
    let id: Id = *database.root_id();
    if let Some(wanted) = wanted {
        give(session, wanted, &id).await?;
        return Ok(wanted.to_owned());
    }
    let known = all(session).await?;
    if let Some(known) = known.into_iter().find(|known| known.id == id && known.local) {
        return Ok(known.name);
    }
    let own = match database.get_name().await {
        Ok(name) => name,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::WrongType) => else_called.to_owned(),
        Err(error) => return Err(error),
    };
    let mut number = 1u64;
    loop {
        let name = if number == 1 { own.clone() } else { format!("{own}-{number}") };
        match give(session, &name, &id).await {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Refuses names that no command line takes well.
pub fn check(name: &str) -> Result<(), Error> {
    let message = match name {
        "" => "the name of a database must not be empty",
        _ if name.len() > 128 => "the name of a database has at most 128 bytes",
        _ if name.chars().any(char::is_control) => "the name of a database must not hold control characters",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidInput, message).with("name", name))
}

fn parse(value: &[u8]) -> Option<Id> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
