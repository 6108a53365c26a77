//! What of this workspace and of the template is certified, alone and in whole nodes.

use std::sync::Arc;

use eidetica_backend_redb as _;
use eidetica_backend_sqlite as _;
use eidetica_conformance::mutants::TransportMutant;
use eidetica_conformance::{BackendSubject, Suite, TransportSubject, UrlBackend, UrlTransport};
use eidetica_transport_http as _;
use eidetica_transport_iroh as _;

#[path = "../../../eidetica-core/tests/certified/kinds.rs"]
mod kinds;
#[path = "../../../eidetica-backend-lent/tests/certified/lent.rs"]
mod lent;
// What a stranger would write, as it stands in a workspace of its own, which cannot be named as a dependency.
#[path = "../../../examples/template/src/lib.rs"]
#[allow(dead_code, unused_imports, reason = "each test file that includes this uses a part of it")]
mod template;

const BACKENDS: [&str; 4] = ["memory:", "sqlite:{tmp}/store.db", "redb:{tmp}/store.redb", "journal:{tmp}/store"];
const TRANSPORTS: [&str; 3] = ["http:127.0.0.1:0", "iroh:127.0.0.1:0?relay=disabled", "tcp:127.0.0.1:0"];

/// All of it.
pub fn suite() -> Suite {
    let mut suite = together();
    for (_, alone) in ALONE {
        for &url in alone {
            suite = if TRANSPORTS.contains(&url) { suite.transport(url) } else { suite.backend(url) };
        }
    }
    suite.backend_subject(lent::Lent).kind(kinds::Documents).kind(kinds::Tables).kind(kinds::Settings)
}

/// What the crates certify themselves, each in its `tests/certified`; and what is borrowed, and kinds of stores.
pub const ALONE: [(&str, &[&str]); 5] = [
    ("eidetica-core", &["memory:"]),
    ("eidetica-backend-sqlite", &["sqlite:{tmp}/store.db", "sqlite::memory:"]),
    ("eidetica-backend-redb", &["redb:{tmp}/store.redb"]),
    ("eidetica-transport-http", &["http:127.0.0.1:0"]),
    ("eidetica-transport-iroh", &["iroh:127.0.0.1:0?relay=disabled"]),
];

/// The rest: whole nodes, each backend with each transport; the transport in memory; and the template.
pub fn together() -> Suite {
    let suite = Suite::new().backend("journal:{tmp}/store").transport("tcp:127.0.0.1:0");
    let memory: Arc<dyn TransportSubject> = Arc::new(TransportMutant::sound(false));
    suite.transport_subject(TransportMutant::sound(false)).network_of(
        BACKENDS.into_iter().map(|url| Arc::new(UrlBackend::new(url)) as Arc<dyn BackendSubject>).collect(),
        TRANSPORTS.into_iter().map(|url| Arc::new(UrlTransport::new(url)) as Arc<_>).chain([memory]).collect(),
    )
}
