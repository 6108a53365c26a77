//! What the crates cannot certify each by itself: whole nodes on every pair, and the template.

use std::sync::Arc;

use eidetica_backend_redb as _;
use eidetica_backend_sqlite as _;
use eidetica_conformance::{BackendSubject, Suite, TransportSubject, UrlBackend, UrlTransport};
use eidetica_transport_http as _;
use eidetica_transport_iroh as _;

#[path = "../../eidetica-sync/tests/certified/memory.rs"]
pub mod memory;
// What a stranger would write, as it stands in a workspace of its own, which cannot be named as a dependency.
#[path = "../../examples/template/src/lib.rs"]
#[allow(dead_code, unused_imports, reason = "a crate of its own, of which this uses a part")]
mod template;

/// Each backend with each transport, and all of them mixed; and the template alone.
pub fn together() -> Suite {
    let backends = ["memory:", "sqlite:{tmp}/store.db", "redb:{tmp}/store.redb", "journal:{tmp}/store"];
    let transports = ["http:127.0.0.1:0", "iroh:127.0.0.1:0?relay=disabled", "tcp:127.0.0.1:0"];
    let memory: Arc<dyn TransportSubject> = Arc::new(memory::Memory::new());
    Suite::new().backend("journal:{tmp}/store").transport("tcp:127.0.0.1:0").network_of(
        backends.into_iter().map(|url| Arc::new(UrlBackend::new(url)) as Arc<dyn BackendSubject>).collect(),
        transports.into_iter().map(|url| Arc::new(UrlTransport::new(url)) as Arc<_>).chain([memory]).collect(),
    )
}
