//! The backends and transports of this workspace, certified as anybody certifies his.

use std::sync::Arc;

use async_trait::async_trait;
use eidetica_backend_lent::{Borrowed, Lender};
use eidetica_backend_redb as _;
use eidetica_backend_sqlite as _;
use eidetica_conformance::{BackendSubject, Place, UrlBackend};
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

eidetica_conformance::main! {
    backend("memory:"),
    backend("sqlite:{tmp}/store.db"),
    backend("sqlite::memory:"),
    backend("redb:{tmp}/store.redb"),
    backend_subject(Lent),
    transport("http:127.0.0.1:0"),
    transport("iroh:127.0.0.1:0?relay=disabled"),
}
