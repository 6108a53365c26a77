//! From a ticket to a device that has the database.

use std::time::Duration;

use eidetica_contract::{Address, Error, ErrorKind, PublicKey, Result};
use tokio::task::JoinSet;

use super::syncer::Syncer;
use crate::ticket::DatabaseTicket;

/// How much later than the one before it the next address of a ticket is tried, so that one that is dead costs little.
const STAGGER: Duration = Duration::from_millis(250);

impl Syncer {
    /// The first device and address of a ticket at which that device answers. Each address is tried a quarter of a second after the
    /// one before; a peer without one is looked for by its key, over iroh. Nothing is asked of it yet.
    ///
    /// Errors: `InvalidInput` (`reason` is `no_addresses`) for a ticket that names no peer; if no address leads there, the error of
    /// the first, with the number of `tried` ones: one of [`connect_to_peer`](Syncer::connect_to_peer), or `Unauthenticated`
    /// (`other_device`) if another device answers.
    pub async fn reach(&self, ticket: &DatabaseTicket) -> Result<(PublicKey, Address)> {
        let mut places: Vec<(PublicKey, Address)> =
            ticket.places().map(|(device, address)| (*device, address.clone())).collect();
        let bare = ticket.peers.iter().filter(|peer| peer.addresses.is_empty());
        places.extend(bare.map(|peer| (peer.device, Address::iroh(peer.device.to_string()))));
        if places.is_empty() {
            let message = "the ticket does not say who has the database; ask for another one";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("reason", "no_addresses"));
        }
        let (all, mut tries, mut first) = (places.len(), JoinSet::new(), None);
        for (number, (device, address)) in places.into_iter().enumerate() {
            let sync = self.clone();
            tries.spawn(async move {
                tokio::time::sleep(STAGGER * u32::try_from(number).unwrap_or(u32::MAX)).await;
                let proven = match sync.connect_to_peer(&address).await {
                    Ok(answers) if answers == device => Ok((device, address)),
                    Ok(answers) => Err(other(&device, answers)),
                    Err(error) => Err(error),
                };
                (number, proven)
            });
        }
        while let Some(tried) = tries.join_next().await {
            match tried {
                // The others are not needed any longer, and end when the set is dropped.
                Ok((_, Ok(reached))) => return Ok(reached),
                Ok((number, Err(error))) if first.as_ref().is_none_or(|(before, _)| number < *before) => {
                    first = Some((number, error));
                }
                _ => {}
            }
        }
        let lost = || Error::new(ErrorKind::Internal, "the tries to reach the peers of the ticket are lost");
        Err(first.map_or_else(lost, |(_, error)| error).with("tried", all))
    }
}

fn other(named: &PublicKey, answers: PublicKey) -> Error {
    let message = "another device answers at this address than the ticket names; ask for a new ticket";
    let error = Error::new(ErrorKind::Unauthenticated, message).with("reason", "other_device");
    error.with("named", named).with("answers", answers)
}
