//! Listening to a peer that is to be told nothing: what it has is taken in, and it learns no more than it has told before.

use eidetica_contract::Result;
use eidetica_core::{Database, Id};

use super::digest_of;
use super::exchange::{Ask, Run};
use super::outcome::{Options, Outcome, Progress, Standoff};

/// How many pages in a row may hold nothing but what does not count here: far fewer than of a peer that may read.
const PAGES_IN_VAIN: usize = 8;

/// Takes in what a peer has, as if nothing were here but `known` and what is below: entries that the peer had before, as it has said
/// itself, or that whoever names the database knows, as the root. Nothing else that is here shows in what is asked.
///
/// By this a peer whose right is given back, and who is the only way on which that can be learnt, is heard.
///
/// The outcome is `complete` if all that the peer had is here in the end; its frontier is then what the peer had, and else `known`.
/// Nothing is asked for that was in vain before: if the options name this standoff, or if the peer has nothing that is not here.
///
/// Errors, cost and cancellation: as for [`exchange`](super::exchange()), but it ends sooner with a peer of which nothing counts.
pub async fn hear(
    db: &Database,
    remote: &dyn Ask,
    known: Vec<Id>,
    options: &Options,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Outcome> {
    // No page is asked for that would be in vain.
    let options = Options { pull: options.standoff.is_none(), push: false, ..options.clone() };
    let mut run = Run::new(db, remote, &options, progress);
    run.pages_in_vain = PAGES_IN_VAIN;
    let stand = db.stand().await?;
    run.here = stand.entries;
    run.common = known.clone();
    let mut claimed = stand.clone();
    claimed.heads = known;
    let Ok(compared) = run.compare(&claimed, (true, true), None).await? else {
        // It has what it had.
        run.outcome.complete = true;
        return run.finish().await;
    };
    let theirs = compared.heads.unwrap_or_default();
    let has_nothing_new = run.has_all(&theirs).await?;
    let standoff = standing(&stand.heads, compared.digest);
    if !has_nothing_new && run.options.standoff == Some(standoff) {
        run.outcome.standoff = Some(standoff);
        return run.finish().await;
    }
    if !has_nothing_new {
        // What it does not have any more, as after a crash, is no ground to stand on.
        let have = if compared.knows_all { claimed.heads } else { compared.known };
        run.pull(&have, &[], compared.first).await?;
    }
    if run.has_all(&theirs).await? {
        run.outcome.complete = true;
        run.common = theirs;
    } else if run.outcome.parked == 0 {
        let heads = db.stand().await?.heads;
        run.outcome.standoff = Some(standing(&heads, compared.digest));
    }
    run.finish().await
}

fn standing(heads: &[Id], theirs: [u8; 32]) -> Standoff {
    Standoff { own: digest_of(heads), theirs, pull: true, push: false }
}

impl Run<'_> {
    /// Whether all heads of the other side are here. If it has named none, that is not known.
    async fn has_all(&self, theirs: &[Id]) -> Result<bool> {
        Ok(!theirs.is_empty() && self.db.known(theirs).await?.iter().all(|here| *here))
    }
}
