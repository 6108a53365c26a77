//! The grants that this device holds.

use std::cmp::Reverse;

use eidetica_contract::{ErrorKind, PublicKey, Result};
use eidetica_core::auth::Right;
use eidetica_core::{Database, Engine, Id, LocalChange, SecretKey};

use super::grant::{Claim, Grant, MAX_CLAIMS, Scope};
use super::rows::{self, GrantRow};

/// The grants that users have signed for this device. They lie in its store, and are there after a restart with nobody logged
/// in. A cheap handle.
///
/// A withdrawal is a matter of this device: it deletes the grant, and cannot show it any more. The other side learns of it
/// only by not being shown it; what ends a grant everywhere is that the user key loses its right.
///
/// # Errors and cancellation
///
/// Every method answers [`ErrorKind::Corrupted`] for rows that cannot be read, [`ErrorKind::NewerFormat`] for those of a newer
/// version, and the errors of the store. Dropping a future of a method that reads changes nothing; a grant is stored or
/// withdrawn whole or not at all.
#[derive(Clone)]
pub struct Grants {
    engine: Engine,
    device: PublicKey,
}

impl Grants {
    /// The grants in this store, for the device whose store it is.
    pub fn new(engine: Engine, device: PublicKey) -> Grants {
        Grants { engine, device }
    }

    /// The grants for a database, in the order of their users.
    pub async fn of(&self, database: &Id) -> Result<Vec<Grant>> {
        self.all_of(Scope::Database(*database)).await
    }

    /// The grants to list databases, in the order of their users.
    pub async fn listing(&self) -> Result<Vec<Grant>> {
        self.all_of(Scope::Listing).await
    }

    /// What to show to a peer for a database: at most [`MAX_CLAIMS`] claims, of a preferred user first, then of those who may
    /// read it by what is here of it, then the newest. Those who may not are shown as well: the peer may know better.
    pub async fn to_show(
        &self,
        database: &Id,
        here: Option<&Database>,
        prefer: Option<&PublicKey>,
    ) -> Result<Vec<Claim>> {
        let mut ranked = Vec::new();
        for grant in self.of(database).await? {
            let may_read = match here {
                Some(here) => here.now().right_of(*grant.user()).await? >= Right::READ,
                None => false,
            };
            ranked.push((may_read, grant.claim().clone()));
        }
        Ok(first(ranked, prefer))
    }

    /// What to show to a peer to be told what it has: at most [`MAX_CLAIMS`] claims, of a preferred user first, then the newest.
    pub async fn listing_to_show(&self, prefer: Option<&PublicKey>) -> Result<Vec<Claim>> {
        let ranked = self.listing().await?.iter().map(|grant| (false, grant.claim().clone())).collect();
        Ok(first(ranked, prefer))
    }

    /// Signs a grant for this device and stores it.
    pub async fn save(&self, user: &SecretKey, scope: Scope) -> Result<()> {
        loop {
            match self.engine.change_locals(vec![self.saving(user, scope).await?]).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }

    /// Deletes the grant of a user key; false if there is none.
    pub async fn withdraw(&self, user: &PublicKey, scope: Scope) -> Result<bool> {
        loop {
            let Some(change) = self.withdrawing(user, scope).await? else { return Ok(false) };
            match self.engine.change_locals(vec![change]).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done.map(|()| true),
            }
        }
    }

    /// True if a grant of this user key is stored for this device. Its signature is not checked.
    pub async fn has(&self, user: &PublicKey, scope: Scope) -> Result<bool> {
        let row = self.engine.local(&rows::grant(&scope, user)).await?;
        Ok(match row {
            Some(row) => GrantRow::parse(&row)?.device == *self.device.as_bytes(),
            None => false,
        })
    }

    /// The change that signs a grant anew, to be made together with others by [`Engine::change_locals`]. Its row changes each
    /// time, so whoever has read it before, to withdraw it, meets a conflict.
    pub async fn saving(&self, user: &SecretKey, scope: Scope) -> Result<LocalChange> {
        let name = rows::grant(&scope, &user.public());
        let before = self.engine.local(&name).await?;
        let last = before.as_deref().map(GrantRow::parse).transpose()?.map_or(0, |row| row.serial);
        let serial = self.engine.environment().now().number().max(last.saturating_add(1));
        let after = Some(rows::write(GrantRow::of(&Grant::sign(user, self.device, scope, serial))));
        Ok(LocalChange { name, before, after })
    }

    /// The change that deletes the grant of a user key, to be made together with others; `None` if there is no grant.
    pub async fn withdrawing(&self, user: &PublicKey, scope: Scope) -> Result<Option<LocalChange>> {
        let name = rows::grant(&scope, user);
        let before = self.engine.local(&name).await?;
        Ok(before.map(|before| LocalChange { name, before: Some(before), after: None }))
    }

    async fn all_of(&self, scope: Scope) -> Result<Vec<Grant>> {
        let prefix = rows::grants_of(&scope);
        let mut grants = Vec::new();
        for (name, row) in self.engine.locals(&prefix).await? {
            let user = rows::key_of(&name, &prefix)?;
            let row = GrantRow::parse(&row)?;
            // One for another key of the device is of no use; the next login signs another.
            if row.device == *self.device.as_bytes() {
                let grant = row.claim(user).prove(&self.device, &scope);
                grants.push(grant.ok_or_else(|| rows::damaged("a grant").with("user", user))?);
            }
        }
        Ok(grants)
    }
}

fn first(mut ranked: Vec<(bool, Claim)>, prefer: Option<&PublicKey>) -> Vec<Claim> {
    let rank = |(may_read, claim): &(bool, Claim)| (Some(&claim.user) != prefer, !may_read, Reverse(claim.serial));
    ranked.sort_by_key(rank);
    ranked.into_iter().map(|(_, claim)| claim).take(MAX_CLAIMS).collect()
}
