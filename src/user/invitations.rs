//! Invitations: tickets that give a right to whoever holds them, for so often and so long as their maker says.
//!
//! What an invitation is good for is kept in a row of the user who has made it, and never sent. It is honoured on this device
//! while the user is logged in, since it takes a key of the user to grant a right.

use std::collections::BTreeMap;
use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::auth::{Permission, Right, Subject};
use eidetica_core::{Id, LocalChange};
use eidetica_sync::access::{Book, BootstrapRequest, Invitation, RequestId, RequestState};
use eidetica_sync::ticket::DatabaseTicket;
use tokio::time::Instant;

use super::rows::{self, InvitationRow};
use super::{KeyId, User};

/// How many invitations a user may have at once.
const MOST: usize = 256;

/// What an invitation gives. By default: to write, to one key, within a week.
///
/// ```
/// use eidetica::auth::Permission;
/// use eidetica::user::Terms;
///
/// let terms = Terms { permission: Permission::Read, uses: 20, ..Terms::default() };
/// assert_eq!(terms.valid.as_secs(), 7 * 24 * 60 * 60);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The right that is given. Whoever asks for less gets that.
    pub permission: Permission,
    /// To how many keys, at least one.
    pub uses: u32,
    /// For how long, by the clock of this device.
    pub valid: Duration,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { permission: Permission::Write, uses: 1, valid: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

/// An invitation that a user has made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvitationInfo {
    /// What it is called. This is not the secret in the ticket.
    pub id: PublicKey,
    /// The database.
    pub database: Id,
    /// The right that it gives.
    pub permission: Permission,
    /// The key of the user that was to grant it when it was made. What grants it is the strongest key of the user by then.
    pub key: KeyId,
    /// How often it may still be used.
    pub uses_left: u32,
    /// When it ends, in milliseconds since 1970 by the clock of this device.
    pub ends_millis: u64,
}

impl User {
    /// A ticket for a database that gives a right to whoever uses it, without anybody having to decide. It is to be kept as carefully
    /// as a key, and sent on a way that others cannot read.
    ///
    /// It is honoured by this device, while this user is logged in and an admin of the database; else whoever uses it waits
    /// like somebody without an invitation. So does whoever asks with a key that was removed from the database.
    ///
    /// Errors, with the context pair `reason`: as for [`share`](User::share); `InvalidInput` (`bad_terms`) for no uses or no
    /// time; `PermissionDenied` (`insufficient_permission`) if no key of the user may grant that right; `Full`
    /// (`too_many_invitations`) beyond 256 that are not used up; `Conflict` if another call changed the list at the same moment.
    /// Cancellation: it is made or not.
    pub async fn invite(&self, id: &Id, terms: Terms) -> Result<DatabaseTicket> {
        let mut ticket = self.share(id).await?;
        self.add_invitation(&mut ticket, terms).await?;
        Ok(ticket)
    }

    /// Makes an invitation and puts it into a ticket, for tickets that are made otherwise than by [`share`](User::share). At least one
    /// of their peers must be this device.
    ///
    /// Errors and cancellation: as for [`invite`](User::invite), without those of `share`.
    pub async fn add_invitation(&self, ticket: &mut DatabaseTicket, terms: Terms) -> Result<()> {
        if terms.uses == 0 || terms.valid.is_zero() {
            let message = "an invitation is good for at least one use, and for some time";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("reason", "bad_terms"));
        }
        let id = &ticket.database;
        let key = self.inviting_key(id, terms.permission).await?;
        let engine = self.instance.engine();
        let invitation = Invitation::generate(engine.environment())?;
        let now = engine.environment().now().millis();
        let mut changes = Vec::new();
        let mut kept = 0;
        for (name, row) in engine.locals(&rows::invitations(self.id())).await? {
            let read: InvitationRow = rows::read(&row, "an invitation")?;
            match read.ends <= now {
                true => changes.push(LocalChange { name, before: Some(row), after: None }),
                // What is used up is no longer there for anybody, but for an approval that fails, which takes moments.
                false => kept += usize::from(read.uses_left > 0),
            }
        }
        if kept >= MOST {
            let message = "the user has 256 invitations that are not used up; revoke some";
            return Err(Error::new(ErrorKind::Full, message).with("reason", "too_many_invitations"));
        }
        let valid = u64::try_from(terms.valid.as_millis()).unwrap_or(u64::MAX);
        let row = InvitationRow {
            database: *id.as_bytes(),
            key: *key.as_bytes(),
            permission: number_of(terms.permission),
            uses_left: terms.uses,
            ends: now.saturating_add(valid),
        };
        let name = rows::invitation(self.id(), &invitation.id());
        changes.push(LocalChange { name, before: None, after: Some(rows::write(&row)) });
        engine.change_locals(changes).await?;
        ticket.ask = Some(terms.permission);
        ticket.invitation = Some(invitation);
        Ok(())
    }

    /// The invitations of this user that are not used up and not over.
    pub async fn invitations(&self) -> Result<Vec<InvitationInfo>> {
        self.master()?;
        let now = self.instance.engine().environment().now().millis();
        let all = self.instance.engine().locals(&rows::invitations(self.id())).await?;
        let read = all.iter().map(|(name, row)| InvitationInfo::read(name, row)).collect::<Result<Vec<_>>>()?;
        Ok(read.into_iter().filter(|one| one.uses_left > 0 && one.ends_millis > now).collect())
    }

    /// Ends an invitation. Whoever has used it keeps the right.
    ///
    /// Errors: `NotFound` (`unknown_invitation`). Cancellation: it has ended or not.
    pub async fn revoke_invitation(&self, invitation: &PublicKey) -> Result<()> {
        self.master()?;
        let (engine, name) = (self.instance.engine(), rows::invitation(self.id(), invitation));
        loop {
            let Some(before) = engine.local(&name).await? else {
                let message =
                    "the user has made no such invitation, or it is over; `invitations` shows those there are";
                let error = Error::new(ErrorKind::NotFound, message).with("reason", "unknown_invitation");
                return Err(error.with("invitation", invitation));
            };
            let gone = LocalChange { name: name.clone(), before: Some(before), after: None };
            match engine.change_locals(vec![gone]).await {
                // It was used just now.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }

    /// Approves the requests of a book that show a good invitation of this user. Goes on after one that fails, and then tells the
    /// first error; what has failed is put off until then, and passed over meanwhile.
    pub(crate) async fn honour_invitations(
        &self,
        book: &Book,
        put_off: &mut BTreeMap<RequestId, Instant>,
        until: Instant,
    ) -> Result<()> {
        let made: Vec<PublicKey> = self.invitations().await?.iter().map(|info| info.id).collect();
        if made.is_empty() {
            return Ok(());
        }
        let mut failed = Ok(());
        for (id, request) in book.requests().await? {
            // Strangers may name whatever they like; a signature is looked at for what was made here alone.
            let named = Invitation::named_by(&request).is_some_and(|named| made.contains(&named));
            let undecided = named && request.state == RequestState::Pending && !put_off.contains_key(&id);
            let shown = undecided.then(|| Invitation::shown_by(&request, &self.instance.device_id())).flatten();
            let Some(invitation) = shown else { continue };
            if self.was_removed(&request).await? {
                // Whoever was put out does not come in again by himself: an admin decides.
                continue;
            }
            let Some(info) = self.use_invitation(&invitation, &request, -1).await? else { continue };
            let approved = async {
                // Not the key that was the strongest then: it may have been rotated since.
                let key = self.inviting_key(&request.database, info.permission).await?;
                self.approve_access_request(book, &id, &key, None).await
            };
            if let Err(error) = approved.await {
                tracing::info!(%error, %invitation, "an invitation could not be honoured");
                // It was not used. If this fails, too, it counts as used: never is more given than was meant.
                self.use_invitation(&invitation, &request, 1).await?;
                put_off.insert(id, until);
                failed = failed.and(Err(error));
            } else if info.uses_left == 1 {
                self.forget_used(&invitation).await?;
            }
        }
        failed
    }

    /// Whether the key that asks had a right that was taken away.
    async fn was_removed(&self, request: &BootstrapRequest) -> Result<bool> {
        let Some(here) = self.database_here(&request.database).await? else { return Ok(false) };
        Ok(here.now().own_right_of(Subject::Key(request.key)).await? == Right::REMOVED)
    }

    /// Takes a use of an invitation for a request, or gives it back. `None` if the invitation is not good for that.
    async fn use_invitation(
        &self,
        invitation: &PublicKey,
        request: &BootstrapRequest,
        uses: i32,
    ) -> Result<Option<InvitationInfo>> {
        let (engine, name) = (self.instance.engine(), rows::invitation(self.id(), invitation));
        loop {
            let Some(before) = engine.local(&name).await? else { return Ok(None) };
            let mut row: InvitationRow = rows::read(&before, "an invitation")?;
            let info = InvitationInfo::read(&name, &before)?;
            let good = info.database == request.database && info.permission >= request.permission;
            if !good || (uses < 0 && row.is_over(engine.environment().now().millis())) {
                return Ok(None);
            }
            row.uses_left = row.uses_left.saturating_add_signed(uses);
            // One that is used up stays for as long as it would have been good, so that a use can be given back.
            let change = LocalChange { name: name.clone(), before: Some(before), after: Some(rows::write(&row)) };
            match engine.change_locals(vec![change]).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done.map(|()| Some(info)),
            }
        }
    }

    /// Forgets an invitation that is used up.
    async fn forget_used(&self, invitation: &PublicKey) -> Result<()> {
        let (engine, name) = (self.instance.engine(), rows::invitation(self.id(), invitation));
        loop {
            let Some(row) = engine.local(&name).await? else { return Ok(()) };
            if rows::read::<InvitationRow>(&row, "an invitation")?.uses_left > 0 {
                return Ok(());
            }
            match engine.change_locals(vec![LocalChange { name: name.clone(), before: Some(row), after: None }]).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }

    /// The strongest key of the user, if it may grant this.
    async fn inviting_key(&self, id: &Id, permission: Permission) -> Result<KeyId> {
        let give = right_of(permission);
        let strongest = match self.database_here(id).await? {
            Some(here) => self.strongest(&here).await?,
            None => (Right::NONE, None),
        };
        match strongest {
            (right, Some(key)) if right >= Right::admin(0) && right > give => Ok(key),
            (right, _) => {
                let message = "only an admin invites others, and to less than the right it has itself";
                let error = Error::new(ErrorKind::PermissionDenied, message).with("reason", "insufficient_permission");
                Err(error.with("has", right).with("give", give).with("database", id))
            }
        }
    }
}

impl InvitationInfo {
    fn read(name: &str, row: &[u8]) -> Result<InvitationInfo> {
        let damaged = || rows::damaged("an invitation");
        let id = name.rsplit('/').next().and_then(|id| id.parse().ok()).ok_or_else(damaged)?;
        let row: InvitationRow = rows::read(row, "an invitation")?;
        Ok(InvitationInfo {
            id,
            database: Id::from_bytes(row.database),
            permission: permission_of(row.permission).ok_or_else(damaged)?,
            key: PublicKey::from_bytes(row.key),
            uses_left: row.uses_left,
            ends_millis: row.ends,
        })
    }
}

impl InvitationRow {
    fn is_over(&self, now: u64) -> bool {
        self.uses_left == 0 || self.ends <= now
    }
}

/// What an approval gives: for an admin the lowest priority.
fn right_of(permission: Permission) -> Right {
    match permission {
        Permission::Read => Right::READ,
        Permission::Write => Right::WRITE,
        Permission::Admin => Right::admin(0),
    }
}

/// How a permission stands in a row.
fn number_of(permission: Permission) -> u8 {
    match permission {
        Permission::Read => 1,
        Permission::Write => 2,
        Permission::Admin => 3,
    }
}

fn permission_of(number: u8) -> Option<Permission> {
    [Permission::Read, Permission::Write, Permission::Admin].into_iter().find(|one| number_of(*one) == number)
}
