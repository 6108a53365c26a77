//! `https`, with a proxy as peers have one in front of them.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eidetica_contract::{Address, ErrorKind, Transport};
use eidetica_transport_http::HttpTransport;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::kit::*;

/// Does TLS in front of a server; returns where, and the certificate to trust.
async fn proxy(to: SocketAddr) -> (u16, String) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut outside = acceptor.accept(stream).await?;
                let mut inside = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    let certificate = STANDARD.encode(certified.cert.der());
    (port, format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n"))
}

#[tokio::test]
async fn a_peer_behind_a_proxy_is_reached() {
    let server = server().await;
    let (port, pem) = proxy(server.socket).await;
    let client = HttpTransport::builder().trust_pem(pem).into_transport().unwrap();
    for host in ["localhost", "127.0.0.1"] {
        let channel = dial_with(&client, &Address::http(format!("https://{host}:{port}"))).await;
        for len in [1, 4 << 20] {
            let message = vec![1; len];
            assert!(channel.request(message.clone().into(), soon()).await.unwrap() == message);
        }
    }
    // The same process may have another provider, or none: nobody asks for it.
    assert!(CryptoProvider::get_default().is_none());
}

#[tokio::test]
async fn who_is_not_trusted_is_not_reached() {
    let server = server().await;
    let (port, _) = proxy(server.socket).await;
    let (_, other) = proxy(server.socket).await;
    let client = HttpTransport::builder().trust_pem(other).into_transport().unwrap();
    let dialled = client.dial(&Address::http(format!("https://localhost:{port}")), soon()).await;
    assert_eq!(kind(dialled), Some(ErrorKind::Unreachable));
    // One that does not speak TLS.
    let dialled = client.dial(&Address::http(format!("https://{}", server.socket)), soon()).await;
    assert_eq!(kind(dialled), Some(ErrorKind::Unreachable));
    assert_eq!(server.service.seen(), 0);
}

#[test]
fn what_is_trusted_is_a_certificate() {
    for bad in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(kind(HttpTransport::builder().trust_pem(bad).into_transport()), Some(ErrorKind::InvalidInput));
    }
}
