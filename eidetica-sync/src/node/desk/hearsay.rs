//! Who is here: what callers say of it, and what they are told.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::Id;
use tokio::time::{Instant, timeout_at};

use super::super::presence::{Taken, take};
use super::Desk;
use super::answers::Answer;
use super::guests::Named;
use crate::message::{Mark, Reply, Said, Tag};

impl Desk {
    /// Takes in what a caller says of databases that it may read. What it says of others is passed over, and it is not told so.
    pub(super) async fn told(&self, peer: PublicKey, said: Vec<Said>) -> Result<Answer> {
        let tags: Vec<Tag> = said.iter().map(|said| said.database).collect();
        let Some(looked) = self.look(&peer, &tags) else { return Ok(Reply::Introduce.into()) };
        let mut entered = BTreeMap::new();
        let mut too_fast = false;
        for (Said { hops, statement, .. }, named) in said.into_iter().zip(looked) {
            let Some((id, shown)) = named else { continue };
            let here = match entered.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.enter(&id, &shown).await?),
            };
            let Some(here) = here else { continue };
            let hall = &self.parts.hall;
            let clock = self.parts.engine.environment().now();
            let from = (&peer, here.vouched.is_some());
            too_fast |= take(hall, &here.database, from, hops, statement, clock).await? == Taken::TooFast;
        }
        if too_fast {
            return Err(Error::new(ErrorKind::Busy, "more is said of who is here than is looked at"));
        }
        let passes = entered.into_values().flatten().map(|entered| entered.pass).collect();
        Ok(Answer { reply: Reply::Taken, passes })
    }

    /// Waits until there is something new of who is in these databases, or the time is up.
    pub(super) async fn listen(&self, peer: PublicKey, until: Instant, after: Mark, tags: Vec<Tag>) -> Result<Answer> {
        let Some(looked) = self.look(&peer, &tags) else { return Ok(Reply::Introduce.into()) };
        let Some(mut place) = self.listening.enter(peer) else {
            return Err(Error::new(ErrorKind::Busy, "too many peers wait to be told who is here"));
        };
        let hall = &self.parts.hall;
        let after = if after.run == hall.run { after.number } else { 0 };
        let named = |looked: &[Named]| looked.iter().flatten().map(|(id, _)| *id).collect::<BTreeSet<Id>>();
        let listening = hall.listen(peer, named(&looked));
        loop {
            let seen = hall.bell().rings();
            let Some(looked) = self.look(&peer, &tags) else { return Ok(Reply::Introduce.into()) };
            let (news, upto) = hall.news(&named(&looked), after, &peer, Instant::now());
            let (over, nothing) = (Instant::now() >= until || hall.is_closed(), news.is_empty());
            if !nothing || over {
                let by_id: BTreeMap<Id, _> = looked
                    .into_iter()
                    .zip(&tags)
                    .filter_map(|(named, tag)| named.map(|(id, shown)| (id, (*tag, shown))))
                    .collect();
                let (mut said, mut passes, mut entered) = (Vec::new(), Vec::new(), BTreeMap::new());
                for (id, hops, statement) in news {
                    let Some((tag, shown)) = by_id.get(&id) else { continue };
                    let may = match entered.get(&id) {
                        Some(may) => *may,
                        None => {
                            let pass = self.enter(&id, shown).await?.map(|entered| entered.pass);
                            let may = pass.is_some();
                            passes.extend(pass);
                            *entered.entry(id).or_insert(may)
                        }
                    };
                    if may {
                        said.push(Said { database: *tag, hops, statement: (*statement).clone() });
                    }
                }
                // What the caller may not read is no news for it, and must not have it ask without end.
                if !said.is_empty() || over {
                    let number = if said.is_empty() && !nothing { after } else { upto };
                    listening.given(number);
                    let upto = Mark { run: hall.run, number };
                    return Ok(Answer { reply: Reply::Heard { upto, said }, passes });
                }
            }
            tokio::select! {
                // In a fixed order, so that a run can be repeated.
                biased;
                _ = timeout_at(until, hall.bell().after(seen)) => {}
                _ = &mut place.ended => {
                    let upto = Mark { run: hall.run, number: after };
                    return Ok(Reply::Heard { upto, said: Vec::new() }.into());
                }
            }
        }
    }
}
