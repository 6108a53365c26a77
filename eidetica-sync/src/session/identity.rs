//! Who this side is, and the proof of who the other one is.

use std::fmt;
use std::sync::Arc;

use eidetica_contract::{PublicKey, Result};
use eidetica_core::{Environment, SecretKey, attested};
use zeroize::Zeroizing;

use super::hello::Hello;
use super::suite::public_of;
use super::wire::Fields;

/// Which side of a session. A statement of one is never one of the other, so that nothing can be played back to its
/// author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Caller,
    Answerer,
}

impl Role {
    fn purpose(self) -> &'static str {
        match self {
            Role::Caller => "eidetica 2026 session handshake 1, the side that calls",
            Role::Answerer => "eidetica 2026 session handshake 1, the side that answers",
        }
    }
}

/// This device as a party of sessions: its device key, and a Noise key made anew with each `Identity`.
///
/// Both are wiped when it is dropped.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    device: SecretKey,
    noise: Zeroizing<[u8; 32]>,
    environment: Arc<dyn Environment>,
}

impl Identity {
    /// The party with this device key. All randomness of its sessions comes from the environment; its clock is not
    /// read.
    ///
    /// Errors: [`Io`](eidetica_contract::ErrorKind::Io) if the environment has no randomness.
    pub fn new(device: SecretKey, environment: Arc<dyn Environment>) -> Result<Identity> {
        let mut noise = Zeroizing::new([0; 32]);
        environment.random(&mut *noise)?;
        Ok(Identity(Arc::new(Inner { device, noise, environment })))
    }

    /// The device key that peers will know it by.
    pub fn device(&self) -> PublicKey {
        self.0.device.public()
    }

    /// The device key, for a transport that proves it by itself.
    pub(crate) fn device_secret(&self) -> &SecretKey {
        &self.0.device
    }

    pub(crate) fn noise_secret(&self) -> &[u8; 32] {
        &self.0.noise
    }

    pub(crate) fn environment(&self) -> &Arc<dyn Environment> {
        &self.0.environment
    }

    /// States that this device takes part in this handshake with its Noise key and makes this offer.
    pub(crate) fn state(&self, role: Role, transcript: &[u8], hello: &Hello) -> [u8; Statement::LEN] {
        let hello = hello.to_bytes();
        let signature =
            self.0.device.attest(role.purpose(), &signed(transcript, &public_of(self.noise_secret()), &hello));
        let mut out = [0; Statement::LEN];
        out[..32].copy_from_slice(self.device().as_bytes());
        out[32..96].copy_from_slice(&signature);
        out[96..].copy_from_slice(&hello);
        out
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.device())
    }
}

/// What the other side has stated and proven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statement {
    pub(crate) device: PublicKey,
    pub(crate) hello: Hello,
}

impl Statement {
    pub(crate) const LEN: usize = 96 + Hello::LEN;

    /// Reads and proves a statement; bytes behind it are room for later. `None` if it is malformed or the signature is
    /// not of the device key it names, over this handshake and this Noise key.
    pub(crate) fn prove(role: Role, transcript: &[u8], noise: &[u8; 32], payload: &[u8]) -> Option<Statement> {
        let mut fields = Fields::new(payload);
        let device = PublicKey::from_bytes(fields.array()?);
        let signature = fields.array::<64>()?;
        let hello = Hello::read(&mut fields)?;
        let signed = signed(transcript, noise, &hello.to_bytes());
        attested(&device, role.purpose(), &signed, &signature).then_some(Statement { device, hello })
    }
}

/// The hash of the handshake so far, the Noise key, and the offer. The hash makes it a statement about this handshake
/// alone, so that a Noise key that was stolen once is of no use without the device key.
fn signed(transcript: &[u8], noise: &[u8; 32], hello: &[u8; Hello::LEN]) -> Vec<u8> {
    [transcript, noise, hello].concat()
}

#[cfg(test)]
mod tests {
    use eidetica_core::SystemEnvironment;

    use super::super::hello::Offer;
    use super::super::wire::MIN_MESSAGE;
    use super::*;

    fn identity(seed: u8) -> Identity {
        Identity::new(SecretKey::from_seed(&[seed; 32]), Arc::new(SystemEnvironment)).unwrap()
    }

    /// Whoever holds a Noise key of his own and claims the device key of another has nothing to show for it.
    #[test]
    fn a_statement_holds_for_its_author_role_handshake_key_and_offer_alone() {
        let (anna, ben) = (identity(1), identity(2));
        let hello = Hello::new(Offer::versions(1, 2), MIN_MESSAGE, 1 << 20);
        let noise = public_of(anna.noise_secret());
        let stated = anna.state(Role::Caller, b"this handshake", &hello);
        let prove = |role, transcript: &[u8], noise: &[u8; 32], payload: &[u8]| {
            Statement::prove(role, transcript, noise, payload).map(|stated| stated.device)
        };
        assert_eq!(prove(Role::Caller, b"this handshake", &noise, &stated), Some(anna.device()));
        assert_eq!(prove(Role::Answerer, b"this handshake", &noise, &stated), None);
        assert_eq!(prove(Role::Caller, b"another handshake", &noise, &stated), None);
        assert_eq!(prove(Role::Caller, b"this handshake", &public_of(ben.noise_secret()), &stated), None);
        let of_ben = ben.state(Role::Caller, b"this handshake", &hello);
        let claimed = [&stated[..32], &of_ben[32..]].concat();
        assert_eq!(prove(Role::Caller, b"this handshake", &public_of(ben.noise_secret()), &claimed), None);
        for at in 0..stated.len() {
            let mut changed = stated;
            changed[at] ^= 1;
            assert_eq!(prove(Role::Caller, b"this handshake", &noise, &changed), None, "byte {at}");
        }
        // Room for later.
        let longer = [&stated[..], b"more"].concat();
        assert_eq!(prove(Role::Caller, b"this handshake", &noise, &longer), Some(anna.device()));
    }
}
