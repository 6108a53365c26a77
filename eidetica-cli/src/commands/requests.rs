//! Who asks for access: `requests`, `approve`, `reject`.
//!
//! All of it goes through the store. Whoever serves it reads requests anew each time, and a right that was given is an entry
//! of the database like any other.

use std::time::{Duration, SystemTime};

use eidetica::auth::{Permission, Right};
use eidetica::sync::access::{Book, BookLimits};
use eidetica::sync::{BootstrapRequest, RequestId, RequestState};
use eidetica::user::KeyId;
use eidetica::{Error, ErrorKind, User};
use serde_json::json;

use crate::arguments::Access;
use crate::failure::Failure;
use crate::names;
use crate::output::Output;
use crate::session::Session;

pub async fn book(session: &Session) -> Result<Book, Error> {
    Book::open(session.instance.engine().clone(), session.instance.device_id(), BookLimits::default()).await
}

/// Shows who asks.
pub async fn list(session: &Session, all: bool, output: &mut Output) -> Result<(), Failure> {
    let named = names::all(session).await?;
    let mut lines = Vec::new();
    for (id, request) in book(session).await?.requests().await? {
        let (state, by, reason) = match &request.state {
            RequestState::Pending => ("pending", None, None),
            RequestState::Approved { by, .. } => ("approved", Some(by.to_string()), None),
            RequestState::Rejected { by, reason, .. } => ("rejected", Some(by.to_string()), Some(reason.clone())),
            _ => ("being decided", None, None),
        };
        if !all && request.state != RequestState::Pending {
            continue;
        }
        let database = request.database.to_string();
        let name = named.iter().find(|named| named.id == request.database).map(|named| named.name.clone());
        let permission = format!("{:?}", request.permission).to_lowercase();
        let asked = SystemTime::UNIX_EPOCH + Duration::from_millis(request.asked_millis.min(1 << 45));
        let asked = humantime::format_rfc3339_seconds(asked).to_string();
        if output.json {
            output.document(&json!({
                "request": id.to_string(), "database": database, "name": name, "permission": permission,
                "who": request.name, "key": request.key.to_string(), "device": request.device.to_string(),
                "asked": asked, "state": state, "by": by, "reason": reason, "metadata": request.metadata,
            }))?;
            continue;
        }
        let key = request.key.to_string();
        let id = if output.aligns() { id.to_string()[..12].to_owned() } else { id.to_string() };
        lines.push(vec![id, name.unwrap_or(database), permission, request.name, key, asked, state.to_owned()]);
    }
    if output.json {
        return Ok(());
    }
    output.table(&["request", "database", "permission", "who", "key", "asked", "state"].map(str::to_owned), &lines)
}

/// Gives what was asked for, or less, also to somebody who was refused it before.
pub async fn approve(
    session: &Session,
    request: &str,
    permission: Option<Access>,
    output: &mut Output,
) -> Result<(), Failure> {
    let (book, user) = (book(session).await?, session.user().await?);
    let (id, asked) = find(&book, request).await?;
    let give = permission.map(|access| match access {
        Access::Read => Right::READ,
        Access::Write => Right::WRITE,
        Access::Admin => Right::admin(0),
    });
    let key = deciding_key(user, &asked).await?;
    if matches!(asked.state, RequestState::Rejected { .. }) {
        user.reopen_access_request(&book, &id, &key).await?;
    }
    user.approve_access_request(&book, &id, &key, give).await?;
    let given = permission.map_or(asked.permission, Permission::from);
    let given = format!("{given:?}").to_lowercase();
    let text = format!("{} may {given} now", crate::text::escaped(&asked.name));
    output.say(&text, || {
        json!({
            "request": id.to_string(), "state": "approved", "database": asked.database.to_string(),
            "key": asked.key.to_string(), "permission": given,
        })
    })
}

/// Says no.
pub async fn reject(session: &Session, request: &str, reason: &str, output: &mut Output) -> Result<(), Failure> {
    let (book, user) = (book(session).await?, session.user().await?);
    let (id, asked) = find(&book, request).await?;
    let key = deciding_key(user, &asked).await?;
    user.reject_access_request(&book, &id, &key, reason).await?;
    let text = format!("{} was refused", crate::text::escaped(&asked.name));
    output.say(&text, || {
        json!({
            "request": id.to_string(), "state": "rejected", "database": asked.database.to_string(),
            "key": asked.key.to_string(), "reason": reason,
        })
    })
}

/// The request with this id, or the only one whose id begins so.
async fn find(book: &Book, text: &str) -> Result<(RequestId, BootstrapRequest), Failure> {
    let all = book.requests().await?;
    let text = text.to_ascii_lowercase();
    let mut found: Vec<_> = all.into_iter().filter(|(id, _)| id.to_string().starts_with(&text)).collect();
    match (found.len(), text.is_empty()) {
        (1, false) => Ok(found.remove(0)),
        (0, false) => {
            let message = "there is no such request; `eidetica requests --all` shows those there are";
            Err(Error::new(ErrorKind::NotFound, message).with("request", text).into())
        }
        _ => {
            let message = "several requests begin so; write more of the id";
            Err(Error::new(ErrorKind::InvalidInput, message).with("request", text).into())
        }
    }
}

/// The key of the user that decides: the strongest in this database.
async fn deciding_key(user: &User, asked: &BootstrapRequest) -> Result<KeyId, Error> {
    let database = user.open_database(&asked.database).await?;
    let mut strongest: Option<(Right, KeyId)> = None;
    for key in user.list_keys().await? {
        let right = database.now().right_of(key.id).await?;
        if strongest.is_none_or(|(other, _)| right > other) {
            strongest = Some((right, key.id));
        }
    }
    match strongest {
        Some((right, key)) if right >= Right::admin(0) => Ok(key),
        _ => {
            let message =
                "only an admin of the database may decide, and this user is none; name another user with --user";
            let error = Error::new(ErrorKind::PermissionDenied, message).with("user", user.name());
            Err(error.with("database", asked.database))
        }
    }
}
