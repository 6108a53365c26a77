//! When both sides have something of their own: what lies below entries that both have is left, and the rest is compared.

use eidetica_contract::Result;
use eidetica_core::{Beyond, Id, Stand};

use super::descent::Descent;
use super::exchange::{End, Run};
use super::message::{Reply, Request};
use super::outcome::broken;
use super::short::{Short, shortened};
use super::transfer::Supply;

/// The most entries that are named in search of what both have.
const NAMED: usize = 96;

impl Run<'_> {
    /// Both sides have something of their own.
    pub(super) async fn apart(&mut self, stand: &Stand, theirs: Vec<Id>) -> Result<End> {
        let named = self.named(stand).await?;
        let mut descent = Descent::new(self.width);
        let claims = descent.begin(self, stand).await?;
        let request = Request::Probe {
            width: self.width,
            ids: shortened(&named, self.width),
            claims: claims.clone(),
            list: self.list() as u16,
            most: self.most(),
        };
        let Reply::Probed { width: _, known, count: _, list, findings } = self.ask(request).await? else {
            return Err(broken("the answer is to something else"));
        };
        if known.len() != named.len() || list.as_ref().is_some_and(|list| list.len() > self.list()) {
            return Err(broken("its answer to a list has another length"));
        }
        let common: Vec<Id> = named.into_iter().zip(known).filter(|(_, known)| *known).map(|(id, _)| id).collect();
        let common = self.db.highest_of(&common).await?;
        self.common.clone_from(&common);
        let mut digest = None;
        let mut more = false;
        if let Some(list) = list {
            let lacking = self.lacking(&list).await?;
            let here = list.len() - lacking.len();
            let wanted = if self.options.pull { lacking } else { Vec::new() };
            let supply = match self.options.push {
                true => Supply::beyond(common, stand.entries, list, here),
                false => Supply::default(),
            };
            digest = self.trade(supply, wanted).await?;
        } else if let Some(own) = self.few_of_ours(&common, stand).await? {
            // The other side has much, and this one little: what is here is named, and the rest is fetched.
            let own = shortened(&own, self.width);
            let (held, fetched) = match self.options.pull {
                true => self.pull(&common, &own, None).await?,
                false => (self.held(&own).await?, None),
            };
            digest = fetched;
            if self.options.push && !held.iter().all(|held| *held) {
                let except: Vec<_> =
                    own.into_iter().zip(held).filter(|(_, held)| *held).map(|(short, _)| short).collect();
                let here = except.len();
                digest = self.trade(Supply::beyond(common, stand.entries, except, here), Vec::new()).await?;
            }
        } else {
            let found = descent.descend(self, claims, findings).await?;
            more = !found.whole;
            let give = if self.options.push { found.give } else { Vec::new() };
            let wanted = if self.options.pull { found.wanted } else { Vec::new() };
            digest = self.trade(Supply::listed(give), wanted).await?.or(digest);
        }
        if more {
            return Ok(End::More);
        }
        match (self.options.pull, self.options.push) {
            (true, true) => self.settled(digest).await,
            (true, false) if !theirs.is_empty() && self.db.known(&theirs).await?.iter().all(|known| *known) => {
                Ok(End::Done(theirs))
            }
            (false, true) => self.pushed(stand, digest).await,
            (true, false) => self.settled(digest).await,
            (false, false) => Ok(End::Done(std::mem::take(&mut self.common))),
        }
    }

    /// Entries that the other side may have: what is known already, what was remembered, and some of the rest, ever further back.
    async fn named(&self, stand: &Stand) -> Result<Vec<Id>> {
        let mut named = self.db.highest_of(&self.common).await?;
        named.truncate(NAMED / 2);
        if let Some(remembered) = &self.options.remembered {
            let few = &remembered[..remembered.len().min(NAMED / 4)];
            let here = self.db.known(few).await?;
            named.extend(few.iter().zip(here).filter(|(_, here)| *here).map(|(id, _)| *id));
        }
        let beyond = Beyond { known: &named, from: 0, until: stand.entries };
        let samples = self.db.samples_beyond(&beyond, NAMED - named.len()).await?;
        named.extend(samples);
        named.sort_unstable();
        named.dedup();
        Ok(named)
    }

    /// Of what the other side has listed, what is not here.
    async fn lacking(&self, list: &[Short]) -> Result<Vec<Short>> {
        let found = super::resolve(self.db, list).await?;
        Ok(list.iter().zip(found).filter(|(_, found)| found.is_empty()).map(|(short, _)| *short).collect())
    }

    /// The entries here that are not below the common ones, if they are few.
    async fn few_of_ours(&self, common: &[Id], stand: &Stand) -> Result<Option<Vec<Id>>> {
        if self.list() == 0 {
            return Ok(None);
        }
        let beyond = Beyond { known: common, from: 0, until: stand.entries };
        self.db.ids_beyond(&beyond, self.list().min(self.max_request() / 4 / self.width.bytes())).await
    }

    /// Which of these entries the other side has.
    async fn held(&self, own: &[Short]) -> Result<Vec<bool>> {
        let (width, most) = (self.width, self.most());
        let request = Request::Probe { width, ids: own.to_vec(), claims: Vec::new(), list: 0, most };
        match self.ask(request).await? {
            Reply::Probed { known, .. } if known.len() == own.len() => Ok(known),
            _ => Err(broken("its answer to a list has another length")),
        }
    }
}
