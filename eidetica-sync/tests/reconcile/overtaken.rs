//! What is asked for comes another way meanwhile: the other side sends it by itself, say, or another peer does.

use async_trait::async_trait;
use eidetica_contract::Result;
use eidetica_core::Database;
use eidetica_core::entry::VerifiedEntry;
use eidetica_sync::reconcile::{Ask, Options, Reply, Request, exchange};

use super::kit::*;

/// Before each answer with entries, what is in it and more comes another way.
struct Overtaken<'a> {
    wire: Wire<'a>,
    here: &'a Database,
    /// What comes, in the parts in which it does.
    parts: std::sync::Mutex<Vec<Vec<VerifiedEntry>>>,
}

#[async_trait]
impl Ask for Overtaken<'_> {
    async fn ask(&self, request: Request) -> Result<Reply> {
        let transfers = matches!(request, Request::Pull { .. } | Request::Trade { .. });
        let reply = self.wire.ask(request).await?;
        let part = if transfers { self.parts.lock().unwrap().pop() } else { None };
        if let Some(part) = part {
            // Some of it may have come the way that it was asked for.
            let raw = part.iter().map(VerifiedEntry::to_raw).collect();
            self.here.ingest(raw, "elsewhere").await.unwrap();
        }
        Ok(reply)
    }

    fn max_reply(&self) -> usize {
        self.wire.max_reply()
    }

    fn max_request(&self) -> usize {
        self.wire.max_request()
    }
}

/// All of it overtakes at once, or a good part of it each time.
#[tokio::test]
async fn what_comes_another_way_is_no_fault_of_the_other_side() {
    for own in [0, 20] {
        for parts in [1, 3] {
            let forge = Forge::new(1);
            let chain = forge.chain(&forge.root, 150, "a");
            let local = forge.chain(&chain[4], own, "own");
            let (here, there) = (forge.peer(&[&chain[..5], &local]).await, forge.peer(&[&chain]).await);
            let mut coming: Vec<Vec<VerifiedEntry>> =
                chain[5..].chunks(145usize.div_ceil(parts)).map(<[VerifiedEntry]>::to_vec).collect();
            coming.reverse();
            let mut wire = Wire::new(&here, &there);
            wire.limits.page = 1 << 10;
            let overtaken = Overtaken { wire, here: &here, parts: coming.into() };
            let options = Options { page: 1 << 10, ..Options::default() };
            let outcome = exchange(&here, &overtaken, &options, &|_| ()).await.unwrap();
            assert!(outcome.complete && outcome.repeated > 0, "{own} own, in {parts} parts: {outcome:?}");
            assert_same(&here, &there).await;
        }
    }
}
