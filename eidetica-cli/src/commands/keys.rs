//! `keys`: who may do what in a database, and which key is meant by its beginning.

use std::collections::BTreeMap;

use eidetica::auth::{Right, Subject};
use eidetica::{Database, Error, ErrorKind, PublicKey};
use serde_json::{Value as Json, json};

use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::snapshot;

/// How many digits of a key are shown to people: enough to type.
const SHOWN: usize = "ed25519:".len() + 12;

/// Whose keys there are, as far as this store knows.
pub struct Holders(BTreeMap<PublicKey, String>);

impl Holders {
    /// Of a database: what those called themselves who have asked for access here, and the keys of the user who asks now.
    pub async fn of(session: &Session, database: &Database) -> Result<Holders, Error> {
        let mut holders = BTreeMap::new();
        for (_, request) in super::requests::book(session).await?.requests().await? {
            if request.database == *database.root_id() {
                holders.insert(request.key, request.name);
            }
        }
        let own = match session.user().await {
            Ok(user) => user.list_keys().await?.into_iter().map(|key| (key.id, user.name().to_owned())).collect(),
            // Looking takes nobody.
            Err(_) => Vec::new(),
        };
        holders.extend(own.into_iter().map(|(key, user)| (key, format!("{user} (here)"))));
        Ok(Holders(holders))
    }

    pub fn name(&self, key: &PublicKey) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A subject as people read it.
    pub fn shown(&self, subject: &Subject) -> String {
        let Subject::Key(key) = subject else { return "everybody".to_owned() };
        match self.name(key) {
            Some(name) => format!("{} of {}", short(key), crate::text::escaped(name)),
            None => short(key),
        }
    }
}

/// The beginning of a key, as people type it.
pub fn short(key: &PublicKey) -> String {
    let mut text = key.to_string();
    text.truncate(SHOWN);
    text
}

/// Shows who may do what, now or as it was.
pub async fn list(session: &Session, name: &str, at: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    let database = super::database(session, name).await?;
    let rights = match at {
        Some(text) => database.permissions_at(&snapshot::parse(&database, text).await?).await?,
        None => database.now().rights().await?,
    };
    let holders = Holders::of(session, &database).await?;
    let mut rights: Vec<_> = rights.into_iter().filter(|(subject, right)| is_shown(subject, *right)).collect();
    rights.sort_by_key(|(subject, right)| (std::cmp::Reverse(*right), *subject));
    let mut lines = Vec::new();
    for (subject, right) in &rights {
        let holder = match subject {
            Subject::Key(key) => holders.name(key),
            Subject::Everybody => None,
        };
        if output.json {
            output.document(&document(subject, *right, holder))?;
            continue;
        }
        let key = match subject {
            Subject::Key(key) if output.aligns() => short(key),
            other => other.to_string(),
        };
        lines.push(vec![key, right.to_string(), holder.unwrap_or_default().to_owned()]);
    }
    if output.json {
        return Ok(());
    }
    output.table(&["key", "right", "whose"].map(str::to_owned), &lines)
}

/// Everybody has nothing unless something was said.
fn is_shown(subject: &Subject, right: Right) -> bool {
    *subject != Subject::Everybody || right > Right::NONE
}

fn document(subject: &Subject, right: Right, holder: Option<&str>) -> Json {
    json!({ "key": subject.to_string(), "right": word(right), "priority": right.priority(), "whose": holder })
}

/// A right as programs read it.
pub fn word(right: Right) -> &'static str {
    match right.permission() {
        Some(eidetica::auth::Permission::Read) => "read",
        Some(eidetica::auth::Permission::Write) => "write",
        Some(eidetica::auth::Permission::Admin) => "admin",
        None if right == Right::REMOVED => "removed",
        None => "none",
    }
}

/// The key that a text names: the whole of it, or the beginning of one that has a right in the database, or had one, or is one of the
/// user's.
pub async fn find(session: &Session, database: &Database, text: &str) -> Result<PublicKey, Error> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let digits = text.strip_prefix("ed25519:").unwrap_or(text).to_ascii_lowercase();
    let mut known: Vec<PublicKey> = Vec::new();
    for (subject, _) in database.now().rights().await? {
        known.extend(match subject {
            Subject::Key(key) => Some(key),
            Subject::Everybody => None,
        });
    }
    if let Ok(user) = session.user().await {
        known.extend(user.list_keys().await?.into_iter().map(|key| key.id));
    }
    known.sort_unstable();
    known.dedup();
    known.retain(|key| key.to_string()["ed25519:".len()..].starts_with(&digits));
    match (&known[..], digits.is_empty()) {
        ([one], false) => Ok(*one),
        ([], _) => {
            let message = "no key in the database begins so; `eidetica keys` shows those there are, and one that has no right yet \
                           is written out: `ed25519:` and 64 digits";
            Err(Error::new(ErrorKind::NotFound, message).with("key", text))
        }
        _ => {
            let message = "several keys begin so; write more of the key";
            Err(Error::new(ErrorKind::InvalidInput, message).with("key", text))
        }
    }
}
