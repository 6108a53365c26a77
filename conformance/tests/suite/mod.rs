//! What is certified here: all backends and transports of this workspace and of the template, alone and in whole nodes, and the
//! kinds of stores.

mod kinds;
// What a stranger would write, as it stands in a workspace of its own, which cannot be named as a dependency.
#[path = "../../../examples/template/src/lib.rs"]
#[allow(dead_code, unused_imports, reason = "each test file that includes this uses a part of it")]
mod template;

use std::sync::Arc;

use async_trait::async_trait;
use eidetica_backend_lent::{Borrowed, Lender};
use eidetica_backend_redb as _;
use eidetica_backend_sqlite as _;
use eidetica_conformance::mutants::TransportMutant;
use eidetica_conformance::{BackendSubject, Place, Suite, TransportSubject, UrlBackend, UrlTransport};
use eidetica_contract::{Backend, Result};
use eidetica_transport_http as _;
use eidetica_transport_iroh as _;

/// What processes borrow from the one that has a redb store open.
struct Lent;

#[async_trait]
impl BackendSubject for Lent {
    fn name(&self) -> String {
        "lent".to_owned()
    }

    async fn fresh(&self) -> Result<Box<dyn Place>> {
        let place = UrlBackend::new("redb:{tmp}/store.redb").fresh().await?;
        let lender = Lender::new(Arc::from(place.open().await?));
        Ok(Box::new(LentPlace { lender, _place: place }))
    }
}

struct LentPlace {
    lender: Lender,
    _place: Box<dyn Place>,
}

#[async_trait]
impl Place for LentPlace {
    async fn open(&self) -> Result<Box<dyn Backend>> {
        let (here, there) = tokio::io::duplex(64 << 10);
        let lender = self.lender.clone();
        // It ends with whoever borrows.
        tokio::spawn(async move { lender.serve(here).await });
        Ok(Box::new(Borrowed::connect(there).await?))
    }
}

/// The whole of it.
pub fn suite() -> Suite {
    let backends = ["memory:", "sqlite:{tmp}/store.db", "redb:{tmp}/store.redb", "journal:{tmp}/store"];
    let transports = ["http:127.0.0.1:0", "iroh:127.0.0.1:0?relay=disabled", "tcp:127.0.0.1:0"];
    let mut suite = backends.into_iter().fold(Suite::new(), Suite::backend);
    suite = suite.backend("sqlite::memory:").backend_subject(Lent);
    suite = transports.into_iter().fold(suite, Suite::transport).transport_subject(TransportMutant::sound(false));
    suite = suite.kind(kinds::Documents).kind(kinds::Tables).kind(kinds::Settings);
    let memory: Arc<dyn TransportSubject> = Arc::new(TransportMutant::sound(false));
    suite.network_of(
        backends.into_iter().map(|url| Arc::new(UrlBackend::new(url)) as Arc<dyn BackendSubject>).collect(),
        transports.into_iter().map(|url| Arc::new(UrlTransport::new(url)) as Arc<_>).chain([memory]).collect(),
    )
}
