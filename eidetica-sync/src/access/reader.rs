//! Whether a caller may read: decided here, and nowhere else.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use eidetica_contract::{PublicKey, Result};
use eidetica_core::Database;
use eidetica_core::auth::{Right, Subject};

use super::grant::{Claim, MAX_CLAIMS, Scope};

/// What a caller has shown: its device key, which the session has proven, and its claims for one scope.
///
/// A signature is checked when it is needed first, and once: asking again costs a look at the settings alone.
#[derive(Debug)]
pub struct Shown {
    device: PublicKey,
    scope: Scope,
    claims: Vec<(Claim, OnceLock<bool>)>,
    /// Whether it let the caller read when that was looked at last.
    reads: AtomicBool,
}

/// Who may read, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reader {
    /// The user key that has signed the grant; the key of the device if it may read by itself, or if everybody may.
    pub key: PublicKey,
    /// What that key may do in the database.
    pub right: Right,
    /// True if it may read because everybody may, and not by a right of its own.
    pub everybody: bool,
}

impl Shown {
    /// What a device has shown. Claims beyond [`MAX_CLAIMS`] do not count.
    pub fn new(device: PublicKey, scope: Scope, claims: Vec<Claim>) -> Shown {
        let claims = claims.into_iter().take(MAX_CLAIMS).map(|claim| (claim, OnceLock::new())).collect();
        Shown { device, scope, claims, reads: AtomicBool::new(false) }
    }

    /// The device that has shown it.
    pub fn device(&self) -> &PublicKey {
        &self.device
    }

    /// What it is good for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The user keys that these claims speak of and that have signed them.
    pub fn users(&self) -> impl Iterator<Item = &PublicKey> {
        self.claims.iter().filter(|claim| self.is_signed(claim)).map(|(claim, _)| &claim.user)
    }

    /// Notes whether it lets the caller read; true if it did so until now, and does so no longer.
    pub(crate) fn note(&self, reads: bool) -> bool {
        self.reads.swap(reads, Ordering::AcqRel) && !reads
    }

    fn is_signed(&self, (claim, verdict): &(Claim, OnceLock<bool>)) -> bool {
        *verdict.get_or_init(|| claim.prove(&self.device, &self.scope).is_some())
    }

    async fn reader(&self, database: &Database) -> Result<Option<Reader>> {
        let now = database.now();
        let own = now.own_right_of(Subject::Key(self.device)).await?;
        // A device that was removed by its own key stays out, whoever vouches for it.
        if own == Right::REMOVED {
            return Ok(None);
        }
        let everybodys = now.own_right_of(Subject::Everybody).await?;
        if own >= Right::READ {
            return Ok(Some(Reader { key: self.device, right: own.max(everybodys), everybody: false }));
        }
        for claim in &self.claims {
            let key = claim.0.user;
            let right = now.own_right_of(Subject::Key(key)).await?;
            if right >= Right::READ && self.is_signed(claim) {
                return Ok(Some(Reader { key, right: right.max(everybodys), everybody: false }));
            }
        }
        // A right of its own is looked for first: who reads what everybody may read is nobody in particular.
        let reader = Reader { key: self.device, right: everybodys, everybody: true };
        Ok((everybodys >= Right::READ).then_some(reader))
    }
}

/// Whether the caller may read this database by its settings as they are now, and as whom.
///
/// It may if everybody may, if its device key has a right of its own, or if a user key that has a right has signed a grant
/// for this device and this database. A device whose own key was removed may not, whoever vouches for it. The right of the
/// user key is looked at before its signature, so claims of strangers cost nothing.
///
/// Ask again whenever the settings may have changed: while a page is being sent, before a watch is answered.
///
/// Errors: those of the store. Cancellation: nothing has changed.
pub async fn may_read(database: &Database, shown: &Shown) -> Result<Option<Reader>> {
    match shown.scope {
        Scope::Database(id) if id == *database.root_id() => shown.reader(database).await,
        _ => Ok(None),
    }
}

/// Whether the caller, who may not read this database, has shown a key of its own whose right to it was taken away: its device key,
/// or that of a user who has signed a grant. Who was never let in is none of these.
///
/// Errors and cancellation: as for [`may_read`].
pub async fn was_removed(database: &Database, shown: &Shown) -> Result<bool> {
    if shown.scope != Scope::Database(*database.root_id()) {
        return Ok(false);
    }
    let now = database.now();
    if now.own_right_of(Subject::Key(shown.device)).await? == Right::REMOVED {
        return Ok(true);
    }
    for claim in &shown.claims {
        let right = now.own_right_of(Subject::Key(claim.0.user)).await?;
        if right == Right::REMOVED && shown.is_signed(claim) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the caller, who has shown listing grants, may be told of this database.
///
/// Errors and cancellation: as for [`may_read`].
pub async fn may_list(database: &Database, shown: &Shown) -> Result<Option<Reader>> {
    match shown.scope {
        Scope::Listing => shown.reader(database).await,
        Scope::Database(_) => Ok(None),
    }
}
