//! Invitations: whoever holds one gets a right without somebody having to decide.

use std::fmt;

use eidetica_contract::{PublicKey, Result};
use eidetica_core::{Environment, Id, SecretKey, attested};
use zeroize::Zeroizing;

use super::book::BootstrapRequest;

/// Keeps this statement apart from all others that a key signs.
const PURPOSE: &str = "eidetica-sync 1 invitation";
/// The pair of metadata in which a request shows its invitation.
const PAIR: &str = "invitation";

/// A key that was made for a ticket. Whoever holds it shows so with a signature, and what it is good for, and how often, stands
/// with the user who has made it; the secret itself is sent to nobody but by the ticket.
///
/// ```
/// use eidetica_core::SystemEnvironment;
/// use eidetica_sync::access::Invitation;
///
/// let invitation = Invitation::generate(&SystemEnvironment)?;
/// let again = Invitation::from_text(&invitation.to_text());
/// assert_eq!(again.as_ref(), Some(&invitation));
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Clone)]
pub struct Invitation(SecretKey);

impl Invitation {
    /// A new one. Errors: [`Io`](eidetica_contract::ErrorKind::Io) if there is no randomness.
    pub fn generate(environment: &dyn Environment) -> Result<Invitation> {
        SecretKey::generate(environment).map(Invitation)
    }

    /// The invitation with this key, which must be used for nothing else.
    pub fn of(secret: SecretKey) -> Invitation {
        Invitation(secret)
    }

    /// What it is called. Nobody can guess the secret from it.
    pub fn id(&self) -> PublicKey {
        self.0.public()
    }

    /// The secret, as it stands in a ticket: 64 hexadecimal digits.
    pub fn to_text(&self) -> Zeroizing<String> {
        let seed = self.0.seed();
        Zeroizing::new(hex(&*seed))
    }

    /// The invitation with the secret that a ticket holds; `None` if it is none.
    pub fn from_text(text: &str) -> Option<Invitation> {
        let mut seed = Zeroizing::new([0; 32]);
        read_hex(text, &mut *seed)?;
        Some(Invitation(SecretKey::from_seed(&seed)))
    }

    /// The pair of metadata that shows it to a device, in a request of a user key for a database.
    pub fn pair(&self, database: &Id, device: &PublicKey, key: &PublicKey) -> (String, String) {
        let signature = self.0.attest(PURPOSE, &statement(database, device, key));
        (PAIR.to_owned(), format!("{} {}", self.id(), hex(&signature)))
    }

    /// The id of the invitation that a request names. Nothing of it is proven, and nothing is computed: this is for leaving out what
    /// names no invitation that was made here.
    pub fn named_by(request: &BootstrapRequest) -> Option<PublicKey> {
        request.metadata.get(PAIR)?.split_once(' ')?.0.parse().ok()
    }

    /// The id of the invitation that a request shows to this device. `None` if it shows none, or one whose secret it does not
    /// hold.
    pub fn shown_by(request: &BootstrapRequest, device: &PublicKey) -> Option<PublicKey> {
        let id = Invitation::named_by(request)?;
        let (_, signature) = request.metadata.get(PAIR)?.split_once(' ')?;
        let mut signed = [0; 64];
        read_hex(signature, &mut signed)?;
        attested(&id, PURPOSE, &statement(&request.database, device, &request.key), &signed).then_some(id)
    }
}

impl PartialEq for Invitation {
    fn eq(&self, other: &Invitation) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Invitation {}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invitation({})", self.id())
    }
}

fn statement(database: &Id, device: &PublicKey, key: &PublicKey) -> Vec<u8> {
    [database.as_bytes().as_slice(), device.as_bytes(), key.as_bytes()].concat()
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn read_hex(text: &str, into: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    if digits.len() != 2 * into.len() {
        return None;
    }
    for (byte, pair) in into.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(())
}
