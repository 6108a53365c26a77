//! Presence as an application uses it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::auth::Right;
use eidetica_core::{Database, Id, Time};
use tokio::time::{Instant, timeout};

use super::shared::{Shared, closed};
use super::syncer::Syncer;
use crate::access::{Scope, Shown, may_read};
use crate::presence::{
    Brought, Departed, Hall, MAX_LIFETIME, MAX_PAYLOAD, MAX_REACH, SKEW, Says, Seat, Speaker, Statement,
};

/// How long a statement lasts if nothing else is said.
const LIFETIME: Duration = Duration::from_secs(20);
/// How long it is waited until others know that somebody has left.
const FAREWELL: Duration = Duration::from_secs(1);

/// Somebody who is here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Present {
    /// The key of the device. It has signed what is said.
    pub device: PublicKey,
    /// The key by whose right the device is here: that of the user for whom it speaks, who has let it (see
    /// [`Grant`](crate::access::Grant)); without one, the key of the device. What is said is the word of the device.
    pub key: PublicKey,
    /// What it says. Anything may be in it.
    pub payload: Bytes,
    /// When it came, by the clock here.
    pub since: Time,
    /// How many hops it is away: 1 for a device that this one talks with.
    pub hops: u8,
}

/// Somebody is here, says something else, or is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// Somebody has come, or says something else than before.
    Here(Present),
    /// Somebody is no longer here.
    Gone {
        /// Who it was, and what was said last.
        was: Present,
        /// Why.
        why: Departed,
    },
}

/// Who is here in a database, and what this device says of itself there. Nothing of it is stored, and nothing is queued: it is what
/// counts now.
///
/// What is published goes to the peers with which this device is connected, those that may read the database and take part in
/// presence; no further, unless [`reach`](Presence::reach) asks for it. It is signed by the device, and shown with the key of the
/// user who has opened the database. It is said again by itself, until the handle is dropped or [`left`](Presence::leave); who is not
/// heard of for its [`lifetime`](Presence::lifetime) is gone. Who loses the right to read is gone at once.
///
/// Each handle has a stream of its own, [`next`](Presence::next). Two handles of one user in one database speak as one: what was
/// published last counts.
///
/// # Limits
///
/// A payload has at most [`MAX_PAYLOAD`] bytes; of what is published faster than every 100 ms the last counts. At most 256 are here in
/// one database, 8 of them of one device, 16 of one key, and 64 that read it because everybody may; at most 4,096 in all databases.
/// A peer may bring 64 statements a second, after 256 at once. Whose clock is off by more than five minutes is not seen.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # use std::sync::Arc;
/// # use std::collections::BTreeMap;
/// # use eidetica_core::{Engine, Id, Memory, Options, SecretKey};
/// # struct Nobody(tokio::sync::watch::Sender<u64>);
/// # #[async_trait::async_trait]
/// # impl eidetica_sync::Host for Nobody {
/// #     async fn wishes(&self) -> eidetica_contract::Result<BTreeMap<Id, eidetica_sync::schedule::Wish>> { Ok(BTreeMap::new()) }
/// #     fn changed(&self) -> tokio::sync::watch::Receiver<u64> { self.0.subscribe() }
/// # }
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let key = SecretKey::from_seed(&[1; 32]);
/// # let host = Arc::new(Nobody(tokio::sync::watch::Sender::new(0)));
/// # let sync = eidetica_sync::Syncer::start(engine.clone(), SecretKey::from_seed(&[2; 32]), host, Default::default()).await?;
/// # let database = engine.create_database(eidetica_core::crdt::Doc::new(), &key).await?;
/// let presence = sync.presence(&database)?;
/// presence.publish("typing")?;
/// assert_eq!(presence.here()?, [], "the others, of whom there are none");
/// presence.leave().await;
/// # sync.close().await;
/// # engine.close().await
/// # }
/// ```
pub struct Presence {
    shared: Arc<Shared>,
    database: Id,
    user: Option<PublicKey>,
    lifetime: Duration,
    reach: u8,
    /// Whom this handle has told of.
    told: BTreeMap<Speaker, Present>,
}

impl Syncer {
    /// Who is here in a database. This device says nothing of itself before [`Presence::publish`]; then it speaks for the key with
    /// which the database was opened.
    ///
    /// Errors: `Closed`.
    pub fn presence(&self, database: &Database) -> Result<Presence> {
        let shared = self.shared().clone();
        if shared.is_over() {
            return Err(closed());
        }
        let (id, user) = (*database.root_id(), database.author());
        shared.hall.attend(id, user);
        Ok(Presence { shared, database: id, user, lifetime: LIFETIME, reach: 1, told: BTreeMap::new() })
    }
}

impl Presence {
    /// How long each statement lasts: how long it takes until others see that this device has vanished. From 1 to
    /// [`MAX_LIFETIME`], in whole seconds, or it is the nearest that is possible. Default: 20 seconds.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Presence {
        self.lifetime = Duration::from_secs(lifetime.as_secs().clamp(1, MAX_LIFETIME.as_secs()));
        self
    }

    /// How many hops a statement may make: 1, the default, to peers of this device; 2 also to their peers, which they hand it on to;
    /// at most [`MAX_REACH`]. A device that hands on needs no handle of its own; it does not ask those that it calls for what is
    /// said, unless it has one.
    #[must_use]
    pub fn reach(mut self, hops: u8) -> Presence {
        self.reach = hops.clamp(1, MAX_REACH);
        self
    }

    /// Says that this device is here, with these bytes, from now on.
    ///
    /// Errors: `TooLarge` for more than [`MAX_PAYLOAD`] bytes; `Closed`.
    pub fn publish(&self, payload: impl Into<Bytes>) -> Result<()> {
        let payload = payload.into();
        if payload.len() > MAX_PAYLOAD {
            let message = "what is said of who is here is to be small; put it into the database, or leave it out";
            let error = Error::new(ErrorKind::TooLarge, message).with("bytes", payload.len());
            return Err(error.with("most", MAX_PAYLOAD));
        }
        self.open()?;
        let says = Says { payload, lifetime: self.lifetime, reach: self.reach };
        self.shared.hall.say(self.database, self.user, says, Instant::now());
        Ok(())
    }

    /// The others who are here now, in the order of their devices.
    ///
    /// Errors: `Closed`.
    pub fn here(&self) -> Result<Vec<Present>> {
        self.open()?;
        let seats = self.shared.hall.seats(&self.database, true, Instant::now());
        Ok(seats.into_iter().filter(|(_, seat)| seat.gone.is_none()).map(|(by, seat)| present(&by, &seat)).collect())
    }

    /// What is different from what this handle has told last: first those who are here already. Whoever asks seldom hears of each only
    /// how it is by then.
    ///
    /// Errors: `Closed`. Cancellation: nothing is lost.
    pub async fn next(&mut self) -> Result<PresenceEvent> {
        loop {
            let seen = self.shared.hall.bell().rings();
            self.open()?;
            if let Some(event) = self.change() {
                return Ok(event);
            }
            self.shared.hall.bell().after(seen).await;
        }
    }

    /// Says that this device is not here any longer, and waits until those know who can be told, a second at most. Dropping the handle
    /// says so, too, and waits for nobody.
    pub async fn leave(self) {
        let (shared, database, user) = (self.shared.clone(), self.database, self.user);
        drop(self);
        let said = async {
            loop {
                let seen = shared.hall.rings();
                if shared.is_over() || shared.hall.is_farewell_said(&database, user) {
                    return;
                }
                shared.hall.changed(seen).await;
            }
        };
        // Whoever was not told sees it when the last statement is over.
        let _ = timeout(FAREWELL, said).await;
    }

    fn change(&mut self) -> Option<PresenceEvent> {
        let mut seats: BTreeMap<Speaker, Seat> =
            self.shared.hall.seats(&self.database, true, Instant::now()).into_iter().collect();
        let gone = self.told.keys().find(|by| seats.get(by).is_none_or(|seat| seat.gone.is_some())).copied();
        if let Some(by) = gone {
            let why = seats.remove(&by).and_then(|seat| seat.gone).unwrap_or(Departed::Expired);
            return self.told.remove(&by).map(|was| PresenceEvent::Gone { was, why });
        }
        for (by, seat) in seats.iter().filter(|(_, seat)| seat.gone.is_none()) {
            let present = present(by, seat);
            let same = |told: &Present| told.payload == present.payload && told.since == present.since;
            if !self.told.get(by).is_some_and(same) {
                self.told.insert(*by, present.clone());
                return Some(PresenceEvent::Here(present));
            }
        }
        None
    }

    fn open(&self) -> Result<()> {
        if self.shared.is_over() { Err(closed()) } else { Ok(()) }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.shared.hall.leave(self.database, self.user, Instant::now());
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("database", &self.database).field("user", &self.user).finish_non_exhaustive()
    }
}

fn present(by: &Speaker, seat: &Seat) -> Present {
    let payload = seat.statement.payload.clone();
    Present { device: by.device, key: seat.key, payload, since: seat.since, hops: seat.hops }
}

/// What has become of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was taken in.
    New,
    /// Nothing of it was new, or it is none that counts.
    Nothing,
    /// Its peer says too much for it to be looked at.
    TooFast,
}

/// Takes in a statement about a database that a peer, who is a member or not, has brought, if it is one that counts: of that peer itself, or within its reach; new;
/// of the present time; of a device that may read the database as the settings are now, and signed by it. The cheapest look comes first.
pub(crate) async fn take(
    hall: &Hall,
    database: &Database,
    (from, member): (&PublicKey, bool),
    hops: u8,
    statement: Statement,
    clock: Time,
) -> Result<Taken> {
    let id = database.root_id();
    let speaker = statement.speaker();
    let Speaker { device, user } = speaker;
    let by_itself = device == *from;
    let off = Time::from_number(statement.serial).millis().abs_diff(clock.millis());
    let possible = (hops == 1) == by_itself && (1..=statement.reach).contains(&hops) && device != hall.device();
    if !possible || Duration::from_millis(off) > SKEW || !hall.is_new(id, &speaker, statement.serial) {
        return Ok(Taken::Nothing);
    }
    let now = Instant::now();
    if !hall.admit(from, member, now) {
        return Ok(Taken::TooFast);
    }
    let shown = Shown::new(device, Scope::Database(*id), statement.claim.iter().cloned().collect());
    let Some(anybody) = may_be_here(database, &shown, user.as_ref()).await? else { return Ok(Taken::Nothing) };
    if !statement.is_signed(id) {
        return Ok(Taken::Nothing);
    }
    let key = user.unwrap_or(device);
    let brought = Brought { statement, from: *from, hops, key, anybody };
    let new = hall.seat(*id, speaker, brought, clock, now);
    // The right may have ended in between, when nobody knew that it matters here.
    if may_be_here(database, &shown, user.as_ref()).await?.is_none() {
        hall.remove(id, |other| *other == speaker);
    }
    Ok(if new { Taken::New } else { Taken::Nothing })
}

/// Whether a device may be here, for this user: both may read. `Some(true)` if only because everybody may.
async fn may_be_here(database: &Database, shown: &Shown, user: Option<&PublicKey>) -> Result<Option<bool>> {
    let Some(reader) = may_read(database, shown).await? else { return Ok(None) };
    let user_may = match user {
        Some(user) if reader.key != *user => {
            // Nobody is named who has not let the device speak for him.
            database.now().right_of(*user).await? >= Right::READ && shown.users().any(|signed| signed == user)
        }
        _ => true,
    };
    Ok(user_may.then_some(reader.everybody))
}

/// Ends the presence of those who may not read a database any longer.
pub(crate) async fn review(hall: &Hall, database: &Database, now: Instant) -> Result<()> {
    let id = database.root_id();
    for (speaker, seat) in hall.seats(id, true, now) {
        let claims = seat.statement.claim.iter().cloned().collect();
        let shown = Shown::new(speaker.device, Scope::Database(*id), claims);
        if seat.gone.is_none() && may_be_here(database, &shown, speaker.user.as_ref()).await?.is_none() {
            hall.remove(id, |other| *other == speaker);
        }
    }
    Ok(())
}
