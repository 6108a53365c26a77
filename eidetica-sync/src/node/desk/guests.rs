//! Callers that have introduced themselves, and by which claims they ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use eidetica_contract::PublicKey;
use eidetica_core::Id;

use crate::access::Shown;
use crate::message::{Tag, TagKey};

/// The most callers that are remembered. Who is forgotten is asked to introduce himself again.
const MOST: usize = 1024;

/// The database that a tag names, and what the caller has shown for it; `None` if either is not known.
pub(crate) type Named = Option<(Id, Arc<Shown>)>;

/// The callers that were here last.
#[derive(Default)]
pub(crate) struct Guests {
    guests: BTreeMap<PublicKey, Guest>,
    /// Counts the visits, to tell which was the last.
    visits: u64,
}

struct Guest {
    last: u64,
    /// The version of what was served when it introduced itself last.
    version: u64,
    /// What it has shown for the databases that it has named. Whether that is worth anything is asked each time anew: a
    /// right may come and go, and so may the wish here to sync the database.
    databases: BTreeMap<Id, Arc<Shown>>,
    /// What it has shown to be told of databases.
    listing: Option<Arc<Shown>>,
    tag_key: TagKey,
    /// The tags of all databases that are served, and the version of this set.
    tags: Option<(u64, Arc<BTreeMap<Tag, Id>>)>,
}

impl Guests {
    /// Notes what a caller has shown. What it has shown before, and does not show anew, stays.
    pub fn note(
        &mut self,
        caller: PublicKey,
        version: u64,
        tag_key: TagKey,
        databases: BTreeMap<Id, Arc<Shown>>,
        listing: Option<Arc<Shown>>,
    ) {
        self.visits += 1;
        if !self.guests.contains_key(&caller) && self.guests.len() >= MOST {
            let oldest = self.guests.iter().min_by_key(|(_, guest)| guest.last).map(|(key, _)| *key);
            oldest.map(|oldest| self.guests.remove(&oldest));
        }
        let new = || Guest { last: 0, version, databases: BTreeMap::new(), listing: None, tag_key, tags: None };
        let guest = self.guests.entry(caller).or_insert_with(new);
        (guest.last, guest.version) = (self.visits, version);
        guest.databases.extend(databases);
        guest.listing = listing.or(guest.listing.take());
    }

    /// Forgets what a caller has shown.
    pub fn forget(&mut self, caller: &PublicKey) {
        self.guests.remove(caller);
    }

    /// The databases that these tags mean, and what the caller has shown for each; `None` for a tag of which neither is
    /// known. All of it is `None` if the caller is to introduce itself: it has not, or names something that means nothing and was not
    /// asked since other databases are served. Of what is not served nothing is kept, so it may mean one of these by now; that does not
    /// depend on which, and tells a stranger nothing of any.
    pub fn look(
        &mut self,
        caller: &PublicKey,
        named: &[Tag],
        version: u64,
        tags: impl FnOnce(&TagKey) -> BTreeMap<Tag, Id>,
    ) -> Option<Vec<Named>> {
        self.visits += 1;
        let guest = self.guests.get_mut(caller)?;
        guest.last = self.visits;
        let tags = match &guest.tags {
            Some((of, tags)) if *of == version => tags.clone(),
            _ => {
                let tags = Arc::new(tags(&guest.tag_key));
                guest.tags = Some((version, tags.clone()));
                tags
            }
        };
        let meant = |tag: &Tag| {
            let id = tags.get(tag)?;
            Some((*id, guest.databases.get(id)?.clone()))
        };
        let looked: Vec<Named> = named.iter().map(meant).collect();
        (guest.version == version || looked.iter().all(Option::is_some)).then_some(looked)
    }

    /// What a caller has shown for a database. `None` if it has not.
    pub fn shown(&self, caller: &PublicKey, database: &Id) -> Option<Arc<Shown>> {
        self.guests.get(caller)?.databases.get(database).cloned()
    }

    /// What a caller has shown to be told of databases. `None` if it has not.
    pub fn listing(&self, caller: &PublicKey) -> Option<Arc<Shown>> {
        self.guests.get(caller).and_then(|guest| guest.listing.clone())
    }
}
