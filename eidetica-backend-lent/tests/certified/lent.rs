//! What processes borrow from the one that has a redb store open.

use std::sync::Arc;

use async_trait::async_trait;
use eidetica_backend_lent::{Borrowed, Lender};
use eidetica_backend_redb as _;
use eidetica_conformance::{BackendSubject, Place, UrlBackend};
use eidetica_contract::{Backend, Result};

pub struct Lent;

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
