//! Deciding on a request.

use eidetica_contract::{Error, ErrorKind, PublicKey, Result, Retry};
use eidetica_core::Database;
use eidetica_core::auth::{self, Permission, Right};
use eidetica_core::store::SettingsStore;

use super::answer::{MAX_REASON, RequestId, is_clean};
use super::book::{Book, Entry, right_number, unknown};
use super::rows::{Decided, Decision, RequestRow};

/// After so many milliseconds an approval that was begun is taken for broken off, and another may begin.
const BROKEN_OFF: u64 = 60_000;

impl Book {
    /// Approves a request: grants the right in one transaction, which the key of this database handle signs. `give` is the
    /// right to grant, at most what was asked for; `None`: what was asked for, and for an admin the lowest priority. A key that
    /// may do that much already is left as it is.
    ///
    /// Errors, with the context pair `reason`: [`ErrorKind::NotFound`] (`unknown_request`); [`ErrorKind::Conflict`] that cannot
    /// be retried (`already_decided`, with `state` and `by`) or can, later (`being_decided`);
    /// [`ErrorKind::PermissionDenied`] (`insufficient_permission`) if the key may not grant that right;
    /// [`ErrorKind::InvalidInput`] if the handle is of another database (`other_database`) or has no key, or if more is
    /// given than was asked for (`more_than_asked`); those of [`Transaction::commit`](eidetica_core::Transaction::commit).
    /// Cancellation: the request is as before, or approved, or the right is granted and the request is still open; it may then
    /// be approved again after a minute.
    pub async fn approve(&self, database: &Database, id: &RequestId, give: Option<Right>) -> Result<()> {
        let (by, entry) = (author(database)?, self.open_entry(database, id).await?);
        let give = match (give, entry.permission) {
            (Some(give), asked) if give < Right::READ || give.permission() > Some(asked) => {
                let message = "an approval gives something, and at most what was asked for";
                let error = Error::new(ErrorKind::InvalidInput, message).with("reason", "more_than_asked");
                return Err(error.with("give", give).with("request_id", id));
            }
            (Some(give), _) => give,
            (None, Permission::Read) => Right::READ,
            (None, Permission::Write) => Right::WRITE,
            (None, Permission::Admin) => Right::admin(0),
        };
        // The right of who approves, that of who asked, and the transaction all stand on the same entries, so what is granted
        // there can only raise.
        let heads = database.get_tips().await?;
        let view = database.at_heads(&heads).await?;
        let may = view.right_of(by).await?;
        if may < Right::admin(0) || may <= give {
            return Err(insufficient(id, may, give));
        }
        let has = view.right_of(entry.wanted.key).await?;
        let begun = Decision::Begun(Decided { by: *by.as_bytes(), at: self.now() });
        let entry = self.decide(entry, id, begun).await?;
        if has < give
            && let Err(error) = grant(database, &heads, &entry.wanted.key, give).await
        {
            // Nothing was granted, so others may decide. If that fails, too, they may after a while.
            let _ = self.decide(entry, id, Decision::None).await;
            return Err(error);
        }
        let decided = Decided { by: *by.as_bytes(), at: self.now() };
        self.decide(entry, id, Decision::Approved(decided, right_number(give))).await?;
        Ok(())
    }

    /// Rejects a request, for a reason that the other side is told; it may be empty. The database is not changed.
    ///
    /// Errors: as for [`approve`](Book::approve); any admin may reject. [`ErrorKind::InvalidInput`] for a reason of more than
    /// [`MAX_REASON`] bytes or with control characters. Cancellation: it is rejected or not.
    pub async fn reject(&self, database: &Database, id: &RequestId, reason: &str) -> Result<()> {
        if reason.len() > MAX_REASON || !is_clean(reason) {
            let message = "the reason for a rejection has at most 1,024 bytes, and no control characters";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("reason", "bad_reason"));
        }
        let (by, entry) = (author(database)?, self.open_entry(database, id).await?);
        let may = database.now().right_of(by).await?;
        if may < Right::admin(0) {
            return Err(insufficient(id, may, Right::NONE));
        }
        let decided = Decided { by: *by.as_bytes(), at: self.now() };
        self.decide(entry, id, Decision::Rejected(decided, reason.to_owned())).await?;
        Ok(())
    }

    /// Takes a rejection back: the request is as if nobody had decided it, and may be approved. One that nobody has decided is left as
    /// it is. The other side learns of it when it asks again.
    ///
    /// Errors: as for [`reject`](Book::reject), `Conflict` (`already_decided`) only for one that was approved. Cancellation: it is
    /// taken back or not.
    pub async fn reopen(&self, database: &Database, id: &RequestId) -> Result<()> {
        let (by, entry) = (author(database)?, self.entry_of(database, id).await?);
        let may = database.now().right_of(by).await?;
        if may < Right::admin(0) {
            return Err(insufficient(id, may, Right::NONE));
        }
        match &entry.row.decision {
            Decision::None => return Ok(()),
            Decision::Rejected(..) => {}
            _ => self.check_open(&entry, id)?,
        }
        self.decide(entry, id, Decision::None).await?;
        Ok(())
    }

    /// The row of a request for this database that nobody has decided.
    async fn open_entry(&self, database: &Database, id: &RequestId) -> Result<Entry> {
        let entry = self.entry_of(database, id).await?;
        self.check_open(&entry, id)?;
        Ok(entry)
    }

    /// The row of a request for this database.
    async fn entry_of(&self, database: &Database, id: &RequestId) -> Result<Entry> {
        let entry = self.find(id).await?;
        if entry.wanted.database != *database.root_id() {
            let message = "the request is for another database; open that one, with the key of an admin";
            let error = Error::new(ErrorKind::InvalidInput, message).with("reason", "other_database");
            return Err(error.with("database", entry.wanted.database).with("request_id", id));
        }
        Ok(entry)
    }

    fn check_open(&self, entry: &Entry, id: &RequestId) -> Result<()> {
        let (state, decided, reason) = match &entry.row.decision {
            Decision::None => return Ok(()),
            Decision::Begun(decided) if self.now().abs_diff(decided.at) > BROKEN_OFF => return Ok(()),
            Decision::Begun(decided) => ("begun", decided, "being_decided"),
            Decision::Approved(decided, _) => ("approved", decided, "already_decided"),
            Decision::Rejected(decided, _) => ("rejected", decided, "already_decided"),
        };
        let (message, retry) = match reason {
            "being_decided" => ("the request is being decided by somebody else; look again in a minute", Retry::Later),
            _ => (
                "the request was decided already; a rejection may be taken back, and a right be changed in the settings",
                Retry::Never,
            ),
        };
        let error = Error::new(ErrorKind::Conflict, message).retry(retry).with("reason", reason);
        Err(error.with("state", state).with("by", PublicKey::from_bytes(decided.by)).with("request_id", id))
    }

    /// The row of a request as it is now, unless something else is wanted there.
    async fn again(&self, entry: &Entry, id: &RequestId) -> Result<Entry> {
        let now = self.entry(&entry.wanted.database, &entry.wanted.key).await?;
        now.filter(|now| now.row.wanted == entry.row.wanted).ok_or_else(|| unknown(id))
    }

    /// Stores a decision. If the row has changed since it was read, and only its date is another, it is stored all the same.
    async fn decide(&self, mut entry: Entry, id: &RequestId, decision: Decision) -> Result<Entry> {
        loop {
            let row = RequestRow { decision: decision.clone(), ..entry.row.clone() };
            match self.shared.engine.change_locals(vec![entry.replaced(Some(&row))]).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => {
                    self.changed();
                    done?;
                    return self.again(&entry, id).await;
                }
            }
            let now = self.again(&entry, id).await?;
            if now.row.decision != entry.row.decision {
                self.check_open(&now, id)?;
            }
            entry = now;
        }
    }
}

async fn grant(database: &Database, heads: &[eidetica_core::Id], key: &PublicKey, give: Right) -> Result<()> {
    let (permission, priority) = match give.priority() {
        Some(priority) => (Permission::Admin, priority),
        None if give == Right::WRITE => (Permission::Write, 0),
        None => (Permission::Read, 0),
    };
    let transaction = database.new_transaction_with_tips(heads).await?;
    let settings = transaction.get_store::<SettingsStore>(auth::STORE).await?;
    settings.set_auth_key(key, permission, priority).await?;
    transaction.commit().await.map(|_| ())
}

fn author(database: &Database) -> Result<PublicKey> {
    database.author().ok_or_else(|| {
        let message = "the database was opened without a key; open it with the key of an admin";
        Error::new(ErrorKind::InvalidInput, message).with("reason", "no_key")
    })
}

fn insufficient(id: &RequestId, may: Right, give: Right) -> Error {
    let message = "only an admin decides on requests, and grants less than the right it has itself; use the key of one";
    let error = Error::new(ErrorKind::PermissionDenied, message).with("reason", "insufficient_permission");
    error.with("has", may).with("give", give).with("request_id", id)
}
