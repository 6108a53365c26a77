//! What users are told when something is refused.
//!
//! The context pair `reason` is fixed, for programs that have to tell apart what has one kind.

use eidetica_contract::{Error, ErrorKind};
use eidetica_core::Id;

use super::KeyId;

pub(super) fn unknown_user(name: &str) -> Error {
    let message = "this store has no such user; `list_users` shows those it has, `create_user` makes one";
    Error::new(ErrorKind::NotFound, message).with("reason", "unknown_user").with("user", name)
}

pub(super) fn name_taken(name: &str) -> Error {
    let message = "this store has a user of this name; log in, or choose another name";
    Error::new(ErrorKind::AlreadyExists, message).with("reason", "name_taken").with("user", name)
}

pub(super) fn wrong_password(name: &str) -> Error {
    let message = "the password is wrong; try again, more slowly each time";
    Error::new(ErrorKind::Unauthenticated, message).with("reason", "wrong_password").with("user", name)
}

pub(super) fn missing_password(name: &str) -> Error {
    let message = "this user has a password, and none was given; log in with it";
    Error::new(ErrorKind::Unauthenticated, message).with("reason", "missing_password").with("user", name)
}

pub(super) fn superfluous_password(name: &str) -> Error {
    let message = "this user has no password, and one was given; log in without";
    Error::new(ErrorKind::InvalidInput, message).with("reason", "superfluous_password").with("user", name)
}

pub(super) fn stale_session(name: &str) -> Error {
    let message = "the password of this user was set or removed in another session; log in again";
    Error::new(ErrorKind::Unauthenticated, message).with("reason", "stale_session").with("user", name)
}

pub(super) fn logged_out(name: &str) -> Error {
    let message = "this session was logged out; log in again";
    Error::new(ErrorKind::Closed, message).with("reason", "logged_out").with("user", name)
}

pub(super) fn unknown_key(key: &KeyId) -> Error {
    let message = "this user has no such key; `list_keys` shows those there are, `add_private_key` makes one";
    Error::new(ErrorKind::NotFound, message).with("reason", "unknown_key").with("key", key)
}

pub(super) fn no_right(database: &Id) -> Error {
    let message = "no key of this user may read the database; ask one of its admins to grant one of them a right";
    Error::new(ErrorKind::PermissionDenied, message).with("reason", "no_right").with("database", database)
}

pub(super) fn no_right_of(key: &KeyId, database: &Id) -> Error {
    let message = "this key may not read the database; ask one of its admins to grant it a right, or use another key";
    let error = Error::new(ErrorKind::PermissionDenied, message).with("reason", "no_right_of_key");
    error.with("database", database).with("key", key)
}

pub(super) fn no_admin(database: &Id, user: &str) -> Error {
    let message = "changing rights takes an admin of the database, and no key of this user is one; ask one who is";
    let error = Error::new(ErrorKind::PermissionDenied, message).with("reason", "no_admin");
    error.with("database", database).with("user", user)
}

pub(super) fn not_above(key: &KeyId, database: &Id, user: &str) -> Error {
    let message = "no key of this user is above the one that is to be replaced; ask an admin who is, or use the recovery key \
                   of the database, if it has one";
    let error = Error::new(ErrorKind::PermissionDenied, message).with("reason", "no_admin");
    error.with("key", key).with("database", database).with("user", user)
}

pub(super) fn own_past(key: &KeyId) -> Error {
    let message = "a key cannot be removed by itself as of an older state: that would strike whom it has let in since, and nothing that                    it wrote; have another admin remove it, or step down as of now";
    Error::new(ErrorKind::InvalidInput, message).with("reason", "own_past").with("key", key)
}

pub(super) fn not_tracked(database: &Id) -> Error {
    let message = "this user does not track the database; `track_database` begins to";
    Error::new(ErrorKind::NotFound, message).with("reason", "not_tracked").with("database", database)
}
