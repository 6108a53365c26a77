//! Heads that would bring many void entries along (rule 21): commits leave them out.
//!
//! Whoever has lost a right can write any number of entries beside the removal, and a friend who may still write can make them part
//! of the live set by standing on them. What stands on such a head carries all of them for ever, so others do not.

use eidetica_contract::{PublicKey, Result, Snapshot};

use super::as_of::AsOf;
use super::core::{Core, State};
use super::database::Database;
use super::meta::Tip;
use crate::dag::{Fresh, Graph, Numbers, Seen};
use crate::id::Id;

/// The most void entries that a commit takes along with a head.
const MOST_VOID: u64 = 1024;

/// The heads that a commit stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heads {
    pub taken: Vec<Tip>,
    /// Those that are left out, each with the number of void entries that it would bring along.
    pub left_out: Vec<(Id, u64)>,
}

impl State {
    /// The heads that a commit stands on by itself. Without very many void entries these are all, and nothing is looked up.
    pub(super) async fn heads_to_take(&self, rows: &dyn Snapshot, graph: &Graph, fresh: &Fresh) -> Result<Heads> {
        let tips = &self.meta.tips;
        if self.marks.void.len() <= MOST_VOID || tips.len() < 2 {
            return Ok(Heads { taken: tips.clone(), left_out: Vec::new() });
        }
        let mut below: Vec<(u64, &Tip, Numbers)> = Vec::with_capacity(tips.len());
        for tip in tips {
            let seen = graph.seen_by_fresh(rows, fresh, &[tip.number]).await?.numbers();
            let void = seen.intersection(&self.marks.void);
            below.push((seen.len() - void.len(), tip, void));
        }
        // What most of what counts stands on is where this database is at; a head is heavy beside that, and not the other way round.
        below.sort_by(|(one, tip, _), (other, another, _)| other.cmp(one).then(tip.id.cmp(&another.id)));
        let (mut heads, mut carried) = (Heads::default(), Numbers::default());
        for (at, (_, tip, void)) in below.into_iter().enumerate() {
            let brings = void.difference(&carried).len();
            if at > 0 && brings > MOST_VOID {
                heads.left_out.push((tip.id, brings));
                continue;
            }
            carried = carried.union(&void);
            heads.taken.push(*tip);
        }
        heads.taken.sort_unstable_by_key(|tip| tip.id);
        Ok(heads)
    }

    /// What a transaction of this author begins on.
    pub(super) async fn begin_on(&self, core: &Core, author: Option<PublicKey>) -> Result<(Vec<Tip>, AsOf)> {
        let all = (self.meta.tips.clone(), self.as_of_now());
        if self.marks.void.len() <= MOST_VOID || self.meta.tips.len() < 2 {
            return Ok(all);
        }
        let rows = core.storage.snapshot().await?;
        let heads = self.heads_to_take(&*rows, &core.graph, &Fresh::default()).await?;
        if heads.left_out.is_empty() {
            return Ok(all);
        }
        let numbers: Vec<u64> = heads.taken.iter().map(|tip| tip.number).collect();
        let seen: Seen = core.graph.seen_by_all(&*rows, &numbers).await?;
        let as_of = self.as_of(&*rows, core, seen).await?;
        // Whoever was let in on such a head could write nothing without it.
        match author.is_some_and(|author| self.right(author, Some(&as_of)) < self.right(author, None)) {
            true => Ok(all),
            false => Ok((heads.taken, as_of)),
        }
    }
}

impl Database {
    /// The heads that commits leave out, each with the number of void entries that it would bring along: those with more than
    /// 1,024. What lies below them is here, counts, and is concurrent with what is committed; somebody with a right has made entries
    /// of somebody without one part of the database.
    ///
    /// Errors: as for all methods.
    pub async fn left_out(&self) -> Result<Vec<(Id, u64)>> {
        let state = self.core.current().await?;
        let rows = self.core.storage.snapshot().await?;
        Ok(state.heads_to_take(&*rows, &self.core.graph, &Fresh::default()).await?.left_out)
    }
}
