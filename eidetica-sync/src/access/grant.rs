//! What a user key states once: that a device may read and carry a database for it.

use std::fmt;

use eidetica_contract::PublicKey;
use eidetica_core::{Id, SecretKey, attested};

use crate::session::wire::Fields;

/// Keeps this statement apart from all others that a key signs.
const PURPOSE: &str = "eidetica-sync 1 grant";

/// The most claims that are shown at once, so that nobody makes the other side check more signatures than that.
pub const MAX_CLAIMS: usize = 8;

/// What a grant is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// To read and carry this database.
    Database(Id),
    /// To be told which databases the user key may read.
    Listing,
}

/// A grant as it travels: without the device and the scope, which both sides know already. Nothing of it is proven until
/// [`Claim::prove`].
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// The key of the user who is said to have signed.
    pub user: PublicKey,
    /// Greater than that of each grant that the user has signed for this device and scope before.
    pub serial: u64,
    /// What is to be the signature.
    pub signature: [u8; 64],
}

/// A statement of a user key that a device may read and carry for it. There is none without a right signature.
///
/// It gives at most what the user key may do by the settings of the database at the moment it is used, and of that only
/// to read. Nobody but the device that it names can use it.
///
/// ```
/// use eidetica_contract::PublicKey;
/// use eidetica_core::SecretKey;
/// use eidetica_sync::access::{Grant, Scope};
///
/// let user = SecretKey::from_seed(&[1; 32]);
/// let [device, other] = [2, 3].map(|seed| SecretKey::from_seed(&[seed; 32]).public());
/// let grant = Grant::sign(&user, device, Scope::Listing, 1);
///
/// let claim = grant.claim().clone();
/// assert_eq!(claim.prove(&device, &Scope::Listing), Some(grant));
/// assert_eq!(claim.prove(&other, &Scope::Listing), None);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    claim: Claim,
    device: PublicKey,
    scope: Scope,
}

impl Grant {
    /// Signs a grant.
    pub fn sign(user: &SecretKey, device: PublicKey, scope: Scope, serial: u64) -> Grant {
        let signature = user.attest(PURPOSE, &statement(&user.public(), &device, &scope, serial));
        Grant { claim: Claim { user: user.public(), serial, signature }, device, scope }
    }

    /// The user key that has signed.
    pub fn user(&self) -> &PublicKey {
        &self.claim.user
    }

    /// The device that may use it.
    pub fn device(&self) -> &PublicKey {
        &self.device
    }

    /// What it is good for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Its serial number.
    pub fn serial(&self) -> u64 {
        self.claim.serial
    }

    /// The grant as it travels.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl Claim {
    /// The bytes of a claim.
    pub const LEN: usize = 32 + 8 + 64;

    /// The grant, if the user has signed it for this device and scope.
    pub fn prove(&self, device: &PublicKey, scope: &Scope) -> Option<Grant> {
        let statement = statement(&self.user, device, scope, self.serial);
        let signed = attested(&self.user, PURPOSE, &statement, &self.signature);
        signed.then(|| Grant { claim: self.clone(), device: *device, scope: *scope })
    }

    /// The bytes of several claims, as a message holds them: in the order of their users, one for each, and at most
    /// [`MAX_CLAIMS`]. Of what is too much, the last is left out.
    pub fn write_all(claims: &[Claim]) -> Vec<u8> {
        let mut claims: Vec<&Claim> = claims.iter().take(MAX_CLAIMS).collect();
        claims.sort_by_key(|claim| claim.user);
        claims.dedup_by_key(|claim| claim.user);
        let mut out = Vec::with_capacity(1 + claims.len() * Claim::LEN);
        out.push(claims.len() as u8);
        for claim in claims {
            out.extend_from_slice(claim.user.as_bytes());
            out.extend_from_slice(&claim.serial.to_be_bytes());
            out.extend_from_slice(&claim.signature);
        }
        out
    }

    /// Reads several claims from the front of a message, and says what follows them. `None` for too many, for another order,
    /// and where bytes are missing.
    pub fn read_all(bytes: &[u8]) -> Option<(Vec<Claim>, &[u8])> {
        let mut fields = Fields::new(bytes);
        let count = usize::from(fields.byte()?);
        if count > MAX_CLAIMS {
            return None;
        }
        let mut claims: Vec<Claim> = Vec::with_capacity(count);
        for _ in 0..count {
            let user = PublicKey::from_bytes(fields.array()?);
            let claim = Claim { user, serial: fields.u64()?, signature: fields.array()? };
            if claims.last().is_some_and(|last| last.user >= claim.user) {
                return None;
            }
            claims.push(claim);
        }
        Some((claims, fields.rest()))
    }
}

/// What is signed.
fn statement(user: &PublicKey, device: &PublicKey, scope: &Scope, serial: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + 32 + 33 + 8);
    out.extend_from_slice(user.as_bytes());
    out.extend_from_slice(device.as_bytes());
    match scope {
        Scope::Database(id) => {
            out.push(0);
            out.extend_from_slice(id.as_bytes());
        }
        Scope::Listing => out.push(1),
    }
    out.extend_from_slice(&serial.to_be_bytes());
    out
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("user", &self.user).field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Grant");
        out.field("user", &self.claim.user).field("device", &self.device).field("scope", &self.scope);
        out.field("serial", &self.claim.serial).finish_non_exhaustive()
    }
}
