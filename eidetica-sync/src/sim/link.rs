//! One way between two hosts.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::conditions::{Conditions, Reach, Roll};
use super::dice::Dice;
use super::trace::{Fate, Kind, Traffic};

/// One way between two hosts.
pub(super) struct Link {
    dice: Dice,
    /// `None`: those of all links.
    pub conditions: Option<Conditions>,
    pub reach: Reach,
    pub traffic: Traffic,
    /// When the last message will have left.
    free: Instant,
    /// When the last message arrives that keeps its place.
    latest: Instant,
}

/// What becomes of one message.
pub(super) struct Passage {
    pub fate: Fate,
    /// When it arrives, or when the caller learns that it will not.
    pub at: Instant,
    pub payload: Bytes,
    /// When a second copy arrives.
    pub again: Option<Instant>,
    /// When a copy arrives whose answer goes to somebody else.
    pub replayed: Option<Instant>,
    pub changed: bool,
    /// How long the service is left at work before the connection breaks.
    pub broken_at_work: Option<Duration>,
    pub abandoned: bool,
}

impl Link {
    pub fn new(seed: u64, from: &str, to: &str) -> Link {
        let now = Instant::now();
        // Names may hold anything, so their lengths keep two pairs apart.
        let dice = Dice::named(seed, &format!("link {} {from} {to}", from.len()));
        Link { dice, conditions: None, reach: Reach::Open, traffic: Traffic::default(), free: now, latest: now }
    }

    /// Draws what becomes of a message that is sent now.
    pub fn send(&mut self, standard: &Conditions, kind: Kind, payload: Bytes) -> Passage {
        self.traffic.sent(kind, payload.len());
        let conditions = self.conditions.unwrap_or(*standard);
        let mut numbers = [0; Roll::NUMBERS];
        numbers.fill_with(|| self.dice.number());
        let roll = conditions.roll(numbers);
        let now = Instant::now();
        self.free = self.free.max(now) + on_the_line(payload.len(), conditions.bandwidth);
        let arrival = (self.free + roll.delay).max(self.latest);
        let (fate, at) = match (self.reach, kind) {
            (Reach::BlackHole, _) => (Fate::Swallowed, arrival),
            // What goes back does so over a connection that stands.
            (Reach::Refused, Kind::Dial | Kind::Request) => (Fate::Refused, arrival),
            _ if roll.lost => (Fate::Lost, arrival),
            _ if roll.broken == Some(false) => (Fate::Broken, arrival),
            // A reply breaks on its way, or not at all.
            _ if roll.broken == Some(true) && kind == Kind::Reply => (Fate::Broken, arrival),
            _ => match roll.held_back {
                Some(held) => (Fate::HeldBack(arrival + held - now), arrival + held),
                None => {
                    self.latest = arrival;
                    (Fate::Sent(arrival - now), arrival)
                }
            },
        };
        let arrives = matches!(fate, Fate::Sent(_) | Fate::HeldBack(_));
        let changed = roll.changed.filter(|_| arrives && !payload.is_empty());
        Passage {
            fate,
            at,
            payload: changed.map_or(payload.clone(), |place| with_another_byte(&payload, place)),
            again: roll.twice.filter(|_| arrives && kind == Kind::Request).map(|later| at + later),
            replayed: roll.replayed.filter(|_| arrives && kind == Kind::Request).map(|later| at + later),
            changed: changed.is_some(),
            broken_at_work: (roll.broken == Some(true) && kind == Kind::Request).then_some(roll.delay),
            abandoned: roll.abandoned,
        }
    }
}

/// How long a message takes to leave, in whole milliseconds.
fn on_the_line(bytes: usize, bandwidth: Option<u64>) -> Duration {
    let millis = |bandwidth: u64| (bytes as u64).saturating_mul(1000) / bandwidth.max(1);
    Duration::from_millis(bandwidth.map_or(0, millis))
}

fn with_another_byte(payload: &Bytes, place: u64) -> Bytes {
    let mut changed = payload.to_vec();
    let at = (place >> 8) as usize % changed.len().max(1);
    if let Some(byte) = changed.get_mut(at) {
        // Never zero, or it would be the same byte.
        *byte ^= (place as u8) | 1;
    }
    changed.into()
}
