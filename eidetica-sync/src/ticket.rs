//! Tickets: what somebody needs to join a database, as one line of text.
//!
//! ```text
//! eidetica:<database>?name=<name>&ask=<right>&peer=<key>&at=<scheme>:<address>&at=…&peer=…&invite=<seed>
//! ```
//!
//! It is a URL (RFC 3986) whose parameters are written as in a query of a form. Each `at` belongs to the `peer` before it.
//! Parameters that are not known are ignored, so that later versions may add some.

use std::fmt;
use std::str::FromStr;

use eidetica_contract::{Address, Error, ErrorKind, PublicKey, Result};
use eidetica_core::Id;
use eidetica_core::auth::Permission;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::access::Invitation;

/// The longest ticket, in bytes.
pub const MAX_TICKET: usize = 8 * 1024;
/// The most peers in a ticket, and the most addresses of each.
pub const MAX_PLACES: usize = 16;

const SCHEME: &str = "eidetica";
/// What would end a value, or be read as something else in it. `:` and `/` stay, so that people can read addresses.
const KEPT_APART: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'+').add(b'<').add(b'>');

/// What somebody needs to join a database: its id, who has it, and where they are found. With an [`Invitation`] it also gives a
/// right, and is to be kept as carefully as a key until that is used up.
///
/// Its text is a URL, which `Display` writes and `FromStr` reads.
///
/// ```
/// use eidetica_contract::{Address, PublicKey};
/// use eidetica_core::Id;
/// use eidetica_sync::ticket::{DatabaseTicket, TicketPeer};
///
/// let database = Id::of(b"a root");
/// let device = PublicKey::from_bytes([7; 32]);
/// let mut ticket = DatabaseTicket::new(database);
/// ticket.name = Some("Notes & more".into());
/// ticket.peers.push(TicketPeer { device, addresses: vec![Address::http("127.0.0.1:8080")] });
///
/// let text = ticket.to_string();
/// assert!(text.starts_with("eidetica:bafy") && text.contains("&at=http:127.0.0.1:8080"));
/// assert_eq!(text.parse::<DatabaseTicket>()?, ticket);
/// // What this version does not know is left to later ones.
/// assert_eq!(format!("{text}&colour=red").parse::<DatabaseTicket>()?, ticket);
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseTicket {
    /// The database.
    pub database: Id,
    /// What it is called, for people, who must not trust it.
    pub name: Option<String>,
    /// What to ask for. `None`: to write.
    pub ask: Option<Permission>,
    /// Who has it, the best first.
    pub peers: Vec<TicketPeer>,
    /// What gives access without somebody having to decide.
    pub invitation: Option<Invitation>,
}

/// A device that has a database, and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketPeer {
    /// Its key. Whoever answers at one of the addresses has to prove it.
    pub device: PublicKey,
    /// Where it is reached, the best first. May be empty where discovery can find a key.
    pub addresses: Vec<Address>,
}

impl DatabaseTicket {
    /// A ticket that names nothing but the database.
    pub fn new(database: Id) -> DatabaseTicket {
        DatabaseTicket { database, name: None, ask: None, peers: Vec::new(), invitation: None }
    }

    /// All addresses, each with the key of the device that has to prove itself there.
    pub fn places(&self) -> impl Iterator<Item = (&PublicKey, &Address)> {
        self.peers.iter().flat_map(|peer| peer.addresses.iter().map(move |address| (&peer.device, address)))
    }
}

impl fmt::Display for DatabaseTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}:{}", self.database)?;
        let mut separator = '?';
        let mut pair = |f: &mut fmt::Formatter<'_>, name: &str, value: &str| {
            write!(f, "{}{name}={}", std::mem::replace(&mut separator, '&'), utf8_percent_encode(value, KEPT_APART))
        };
        if let Some(name) = &self.name {
            pair(f, "name", name)?;
        }
        if let Some(ask) = self.ask {
            pair(f, "ask", &format!("{ask:?}").to_lowercase())?;
        }
        for peer in &self.peers {
            pair(f, "peer", &peer.device.to_string())?;
            for address in &peer.addresses {
                pair(f, "at", &format!("{}:{}", address.transport_type, address.address))?;
            }
        }
        match &self.invitation {
            Some(invitation) => pair(f, "invite", &invitation.to_text()),
            None => Ok(()),
        }
    }
}

/// Errors: [`ErrorKind::InvalidInput`] (`reason` is `bad_ticket`), with the part that is wrong as `part` and what is wrong with
/// it as `problem`. The ticket itself is not repeated, since it may hold a secret.
impl FromStr for DatabaseTicket {
    type Err = Error;

    fn from_str(text: &str) -> Result<DatabaseTicket> {
        let text = text.trim();
        if text.len() > MAX_TICKET {
            return Err(bad("ticket", "it is longer than 8,192 bytes"));
        }
        let rest = match text.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
            _ => return Err(bad("scheme", "it begins with something else than `eidetica:`")),
        };
        // What follows a `#` is not for us.
        let rest = rest.split('#').next().unwrap_or_default();
        let (database, query) = rest.split_once('?').unwrap_or((rest, ""));
        if database.is_empty() {
            return Err(bad("database", "the id of the database is missing"));
        }
        let database = database.parse().map_err(|_| bad("database", "it is no id of a database"))?;
        let mut ticket = DatabaseTicket::new(database);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            ticket.read_pair(&name, &value)?;
        }
        Ok(ticket)
    }
}

impl DatabaseTicket {
    fn read_pair(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "name" => once("name", &mut self.name, value.to_owned()),
            "ask" => {
                let ask = match value {
                    "read" => Permission::Read,
                    "write" => Permission::Write,
                    "admin" => Permission::Admin,
                    _ => return Err(bad("ask", "it is none of read, write and admin")),
                };
                once("ask", &mut self.ask, ask)
            }
            "peer" if self.peers.len() >= MAX_PLACES => Err(bad("peer", "there are more than 16")),
            "peer" => {
                let device = value.parse().map_err(|_| bad("peer", "it is no key of a device"))?;
                self.peers.push(TicketPeer { device, addresses: Vec::new() });
                Ok(())
            }
            "at" => {
                let peer = self.peers.last_mut().ok_or_else(|| bad("at", "no `peer` stands before it"))?;
                if peer.addresses.len() >= MAX_PLACES {
                    return Err(bad("at", "there are more than 16 for one peer"));
                }
                match value.split_once(':') {
                    Some((scheme, address)) if !scheme.is_empty() && !address.is_empty() => {
                        peer.addresses.push(Address::new(scheme, address));
                        Ok(())
                    }
                    _ => Err(bad("at", "it is no scheme and address with a colon between them")),
                }
            }
            "invite" => {
                let invitation = Invitation::from_text(value);
                let invitation = invitation.ok_or_else(|| bad("invite", "it is not 64 hexadecimal digits"))?;
                once("invite", &mut self.invitation, invitation)
            }
            _ => Ok(()),
        }
    }
}

fn once<T>(part: &'static str, slot: &mut Option<T>, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad(part, "it is there twice")),
    }
}

fn bad(part: &'static str, problem: &'static str) -> Error {
    let message = "this is no ticket for a database; ask for it again, and copy all of it";
    let error = Error::new(ErrorKind::InvalidInput, message).with("reason", "bad_ticket");
    error.with("part", part).with("problem", problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eidetica_core::SecretKey;

    fn full() -> DatabaseTicket {
        let peer = |number, addresses| TicketPeer { device: PublicKey::from_bytes([number; 32]), addresses };
        DatabaseTicket {
            database: Id::of(b"root"),
            name: Some("räume & „mehr“ + 100 %#?".into()),
            ask: Some(Permission::Read),
            peers: vec![
                peer(1, vec![Address::http("https://a.example/b?c=d&e=f"), Address::iroh("endpointabc")]),
                peer(2, Vec::new()),
                peer(3, vec![Address::new("own", "a:b c")]),
            ],
            invitation: Some(Invitation::of(SecretKey::from_seed(&[9; 32]))),
        }
    }

    #[test]
    fn a_ticket_is_read_as_it_was_written() {
        let text = full().to_string();
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
        assert_eq!(text.parse::<DatabaseTicket>().unwrap(), full());
        assert_eq!(format!(" {}\n", text.replace("eidetica:", "EIDETICA:")).parse::<DatabaseTicket>().unwrap(), full());
        let bare = DatabaseTicket::new(Id::of(b"root"));
        assert_eq!(bare.to_string().parse::<DatabaseTicket>().unwrap(), bare);
        assert_eq!(full().places().count(), 3);
    }

    #[test]
    fn what_is_wrong_is_named_and_the_secret_is_not() {
        let id = Id::of(b"root");
        let key = PublicKey::from_bytes([1; 32]);
        let many = |pair: &str| format!("{id}?peer={key}&{}", vec![pair; 17].join("&"));
        for (rest, part) in [
            ("", "database"),
            ("?name=a", "database"),
            ("bafyr4i", "database"),
            (&format!("{id}?peer=abc"), "peer"),
            (&format!("{id}?at=http:a:1"), "at"),
            (&format!("{id}?peer={key}&at=http"), "at"),
            (&format!("{id}?peer={key}&at=:a"), "at"),
            (&format!("{id}?peer={key}&at=a:"), "at"),
            (&format!("{id}?ask=own"), "ask"),
            (&format!("{id}?ask=read&ask=read"), "ask"),
            (&format!("{id}?name=a&name=b"), "name"),
            (&format!("{id}?invite=00"), "invite"),
            (&format!("{id}?invite={}", "zz".repeat(32)), "invite"),
            (&many(&format!("peer={key}")), "peer"),
            (&many("at=http:a:1"), "at"),
            (&format!("{id}?x={}", "y".repeat(MAX_TICKET)), "ticket"),
        ] {
            let error = format!("eidetica:{rest}").parse::<DatabaseTicket>().unwrap_err();
            assert_eq!((error.kind(), error.context("part")), (ErrorKind::InvalidInput, Some(part)), "{rest}");
        }
        for text in ["", "http://a", "endpointabc", "eidetica"] {
            assert_eq!(text.parse::<DatabaseTicket>().unwrap_err().context("part"), Some("scheme"), "{text}");
        }
        let secret = full().invitation.unwrap().to_text();
        assert!(!format!("{:?}", full()).contains(&*secret));
        let error = format!("{}&ask=none", full()).parse::<DatabaseTicket>().unwrap_err();
        assert!(!format!("{error:?}").contains(&*secret));
    }

    #[test]
    fn no_text_makes_it_panic() {
        let text = full().to_string();
        for at in 0..text.len() {
            let _ = text[..at].parse::<DatabaseTicket>();
            for put in ["%", "%f", "%ff", "&", "?", ":", "#", "ä"] {
                let _ = format!("{}{put}{}", &text[..at], &text[at..]).parse::<DatabaseTicket>();
            }
        }
    }
}
