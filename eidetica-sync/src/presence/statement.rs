//! What a device says of itself: its bytes, and its signature.

use bytes::{BufMut, Bytes, BytesMut};
use eidetica_contract::PublicKey;
use eidetica_core::{Id, SecretKey, attested};

use super::hall::Speaker;
use super::{MAX_LIFETIME, MAX_PAYLOAD, MAX_REACH};
use crate::access::Claim;
use crate::session::Fields;

/// Keeps this statement apart from all others that a key signs.
const PURPOSE: &str = "eidetica-sync 1 presence";

/// A device is here in a database. Which database is said by what is around it. Nothing of it is proven before
/// [`Statement::is_signed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub device: PublicKey,
    /// The grant of the user for whom the device is here; none if it is there by a right of its own, or by that of everybody.
    pub claim: Option<Claim>,
    /// Its time; greater than that of each statement that the device has made for this user in this database before.
    pub serial: u64,
    /// For how many seconds it holds. 0: the device is no longer here.
    pub lifetime: u16,
    /// How many hops it may make.
    pub reach: u8,
    pub payload: Bytes,
    pub signature: [u8; 64],
}

impl Statement {
    /// Signs it as the device with this key. The signature that is there is replaced, and so is the device.
    pub fn sign(mut self, device: &SecretKey, database: &Id) -> Statement {
        self.device = device.public();
        self.signature = device.attest(PURPOSE, &self.signed(database));
        self
    }

    /// Who speaks, if all of it is true.
    pub fn speaker(&self) -> Speaker {
        Speaker { device: self.device, user: self.claim.as_ref().map(|claim| claim.user) }
    }

    /// Whether its device has signed it, for this database.
    pub fn is_signed(&self, database: &Id) -> bool {
        attested(&self.device, PURPOSE, &self.signed(database), &self.signature)
    }

    fn signed(&self, database: &Id) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_slice(database.as_bytes());
        self.write_unsigned(&mut out);
        out
    }

    fn write_unsigned(&self, out: &mut BytesMut) {
        out.put_slice(self.device.as_bytes());
        out.put_slice(&Claim::write_all(self.claim.as_slice()));
        out.put_u64(self.serial);
        out.put_u16(self.lifetime);
        out.put_u8(self.reach);
        out.put_u16(self.payload.len() as u16);
        out.put_slice(&self.payload);
    }

    pub fn write(&self, out: &mut BytesMut) {
        self.write_unsigned(out);
        out.put_slice(&self.signature);
    }

    /// Reads one from the front of a message. `None` for what is beyond a bound.
    pub fn read(fields: &mut Fields<'_>) -> Option<Statement> {
        let device = PublicKey::from_bytes(fields.array()?);
        let claim = match fields.byte()? {
            0 => None,
            1 => {
                let user = PublicKey::from_bytes(fields.array()?);
                Some(Claim { user, serial: fields.u64()?, signature: fields.array()? })
            }
            _ => return None,
        };
        let (serial, lifetime, reach) = (fields.u64()?, fields.u16()?, fields.byte()?);
        let bounded = u64::from(lifetime) <= MAX_LIFETIME.as_secs() && (1..=MAX_REACH).contains(&reach);
        let len = usize::from(fields.u16()?);
        let payload = fields.take(len).filter(|_| bounded && len <= MAX_PAYLOAD)?;
        let payload = Bytes::copy_from_slice(payload);
        Some(Statement { device, claim, serial, lifetime, reach, payload, signature: fields.array()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Grant, Scope};

    fn statement(device: &SecretKey, database: &Id) -> Statement {
        let user = SecretKey::from_seed(&[9; 32]);
        let claim = Grant::sign(&user, device.public(), Scope::Database(*database), 3).claim().clone();
        let payload = Bytes::from_static(b"typing");
        let blank = [0; 64];
        let said = Statement {
            device: user.public(),
            claim: Some(claim),
            serial: 7,
            lifetime: 20,
            reach: 2,
            payload,
            signature: blank,
        };
        said.sign(device, database)
    }

    #[test]
    fn no_field_and_no_database_can_be_exchanged() {
        let (device, database) = (SecretKey::from_seed(&[1; 32]), Id::of(b"a database"));
        let said = statement(&device, &database);
        assert!(said.is_signed(&database) && !said.is_signed(&Id::of(b"another")));
        let forged = [
            Statement { device: SecretKey::from_seed(&[2; 32]).public(), ..said.clone() },
            Statement { claim: None, ..said.clone() },
            Statement { serial: 8, ..said.clone() },
            Statement { lifetime: 21, ..said.clone() },
            Statement { reach: 3, ..said.clone() },
            Statement { payload: Bytes::from_static(b"typinG"), ..said.clone() },
        ];
        assert!(forged.iter().all(|forged| !forged.is_signed(&database)));
    }

    #[test]
    fn what_is_beyond_a_bound_or_cut_off_is_none() {
        let (device, database) = (SecretKey::from_seed(&[1; 32]), Id::of(b"a database"));
        let said = statement(&device, &database);
        let read = |said: &Statement, cut: usize| {
            let mut out = BytesMut::new();
            said.write(&mut out);
            Statement::read(&mut Fields::new(&out[..out.len() - cut]))
        };
        assert_eq!(read(&said, 0).as_ref(), Some(&said));
        assert!((1..60).all(|cut| read(&said, cut).is_none()));
        let most = Statement { payload: vec![0; MAX_PAYLOAD].into(), lifetime: 60, reach: 4, ..said.clone() };
        assert!(read(&most, 0).is_some());
        assert!(read(&Statement { payload: vec![0; MAX_PAYLOAD + 1].into(), ..said.clone() }, 0).is_none());
        assert!(read(&Statement { lifetime: 61, ..said.clone() }, 0).is_none());
        assert!(read(&Statement { reach: 0, ..said.clone() }, 0).is_none());
        assert!(read(&Statement { reach: 5, ..said }, 0).is_none());
    }
}
