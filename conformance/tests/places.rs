//! Transports whose addresses are paths, and one that cannot listen.

use std::path::Path;
use std::sync::LazyLock;

use eidetica_conformance::{Suite, run};
use eidetica_contract::{Error, ErrorKind, Transport, TransportEntry};
use eidetica_sync::transport::MemoryNetwork;

/// All transports of the scheme `path`.
static NETWORK: LazyLock<MemoryNetwork> = LazyLock::new(MemoryNetwork::new);

eidetica_contract::inventory::submit! {
    TransportEntry::new("path", "the tests of the suite", |bind| {
        let path = bind.split('?').next().unwrap_or_default();
        if path.contains('/') && !Path::new(path).parent().is_some_and(Path::is_dir) {
            return Err(Error::new(ErrorKind::InvalidInput, "no directory").with("bind", bind));
        }
        Ok(Box::new(NETWORK.builder(bind)))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_transport_has_a_directory_of_its_own() {
    for (text, beginning, cases) in [
        ("path:{tmp}/socket", "transport.exchange", 9),
        ("path:{tmp}/socket", "transport.listening.two-are-apart", 1),
        ("path:{tmp}/socket?setting={tmp}", "transport.listening.an-address-in-use", 1),
        // A directory to make names in is no place that two could want.
        ("path:{tmp}/", "transport.listening.an-address-in-use", 0),
    ] {
        let report = run(Suite::new().transport(text).only(beginning)).await.unwrap();
        assert_eq!(report.executed.len(), cases, "{text} {beginning}");
        assert!(report.problems().is_empty(), "{:#?}", report.problems());
    }
}

/// Every case would fail, and for the same reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_listen_is_told_once() {
    let taken = NETWORK.transport("taken");
    taken.listen(std::sync::Arc::new(Deaf)).await.unwrap();
    let error = run(Suite::new().transport("path:taken")).await.unwrap_err();
    assert_eq!((error.kind(), error.context("transport")), (ErrorKind::Locked, Some("path:taken")));
}

struct Deaf;

#[async_trait::async_trait]
impl eidetica_contract::Service for Deaf {
    async fn handle(
        &self,
        _: eidetica_contract::Caller,
        message: bytes::Bytes,
    ) -> eidetica_contract::Result<bytes::Bytes> {
        Ok(message)
    }
}
