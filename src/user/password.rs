//! From a password to the key that seals.

use argon2::{Algorithm, Argon2, Params, Version};
use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::Environment;
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use super::seal::Secret;

/// The most that a stored lock may ask for, so that a damaged row does not take all memory: 4 GiB, 1,000 passes.
const MOST: (u32, u32, u32) = (4 << 20, 1000, 64);

/// How the password of one user becomes a key. The costs stand with each user, so that new users can get higher ones
/// and the others still log in; a change of the password takes those of the day.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Lock {
    /// KiB of memory.
    #[n(0)]
    memory: u32,
    #[n(1)]
    passes: u32,
    #[n(2)]
    lanes: u32,
    #[cbor(n(3), with = "minicbor::bytes")]
    salt: [u8; 16],
}

impl Lock {
    /// A lock with a salt of its own, at the costs that the crate recommends today (OWASP: 19 MiB, two passes).
    pub fn new(environment: &dyn Environment) -> Result<Lock> {
        let costs = Params::DEFAULT;
        let mut salt = [0; 16];
        environment.random(&mut salt)?;
        Ok(Lock { memory: costs.m_cost(), passes: costs.t_cost(), lanes: costs.p_cost(), salt })
    }

    /// The key that a password gives, on a thread that may take its time.
    pub async fn key(&self, password: &str) -> Result<Secret> {
        let (lock, password) = (self.clone(), Zeroizing::new(password.to_owned()));
        let hashed = tokio::task::spawn_blocking(move || lock.key_here(&password)).await;
        hashed
            .map_err(|error| Error::new(ErrorKind::Internal, "hashing a password has ended early").caused_by(error))?
    }

    fn key_here(&self, password: &str) -> Result<Secret> {
        let refused = |cause: String| {
            let message = "the lock of a user is damaged; restore the store from a backup";
            Error::new(ErrorKind::Corrupted, message).with("cause", cause)
        };
        if self.memory > MOST.0 || self.passes > MOST.1 || self.lanes > MOST.2 {
            return Err(refused(format!("{} KiB, {} passes, {} lanes", self.memory, self.passes, self.lanes)));
        }
        let mut key = Secret::default();
        let costs = Params::new(self.memory, self.passes, self.lanes, Some(key.len()));
        let costs = costs.map_err(|error| refused(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, costs);
        let done = argon2.hash_password_into(password.as_bytes(), &self.salt, &mut *key);
        done.map_err(|error| refused(error.to_string()))?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eidetica_core::SystemEnvironment;

    #[test]
    fn every_part_of_a_lock_counts() {
        let lock = Lock { memory: 64, passes: 1, lanes: 1, salt: [1; 16] };
        let key = lock.key_here("secret").unwrap();
        assert_eq!(lock.key_here("secret").unwrap(), key);
        for other in [
            Lock { memory: 128, ..lock.clone() },
            Lock { passes: 2, ..lock.clone() },
            Lock { lanes: 2, ..lock.clone() },
            Lock { salt: [2; 16], ..lock.clone() },
        ] {
            assert_ne!(other.key_here("secret").unwrap(), key, "{other:?}");
        }
        let long = "x".repeat(1 << 20);
        for other in ["Secret", "secret ", "", "sécret", "secret\0", &long] {
            assert_ne!(lock.key_here(other).unwrap(), key, "{:.10}", other);
        }
    }

    #[test]
    fn a_damaged_lock_is_refused_without_taking_all_memory() {
        let lock = Lock::new(&SystemEnvironment).unwrap();
        for damaged in [
            Lock { memory: u32::MAX, ..lock.clone() },
            Lock { passes: u32::MAX, ..lock.clone() },
            Lock { lanes: u32::MAX, ..lock.clone() },
            Lock { memory: 0, ..lock.clone() },
            Lock { passes: 0, ..lock.clone() },
        ] {
            assert_eq!(damaged.key_here("secret").unwrap_err().kind(), ErrorKind::Corrupted, "{damaged:?}");
        }
    }
}
