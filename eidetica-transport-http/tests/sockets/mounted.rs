//! Routes in a server of the application.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use eidetica_contract::{Address, CallOptions, ErrorKind, Transport};
use eidetica_transport_http::HttpTransport;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::kit::*;

/// A server of its own with our routes under a prefix.
async fn application(routes: Router, tells_who_calls: bool) -> SocketAddr {
    let app = Router::new().route("/", get(|| async { "home" })).nest("/deep/sync", routes);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = listener.local_addr().unwrap();
    tokio::spawn(async move {
        if tells_who_calls {
            axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
        } else {
            axum::serve(listener, app).await.unwrap();
        }
    });
    socket
}

#[tokio::test]
async fn routes_under_a_prefix() {
    for tells in [true, false] {
        let builder = HttpTransport::builder().advertise("https://example.com/deep/sync");
        let socket = application(builder.router(), tells).await;
        let transport = builder.into_transport().unwrap();
        let channel = dial(&Address::http(format!("http://{socket}/deep/sync"))).await;
        let error = channel.request("x".into(), soon()).await.unwrap_err();
        assert_eq!((error.kind(), error.context("status")), (ErrorKind::Unreachable, Some("503")));

        let service = Arc::new(Obedient::default());
        transport.listen(service.clone()).await.unwrap();
        assert_eq!(transport.addresses(), [Address::http("https://example.com/deep/sync")]);
        let message = vec![1; 4 << 20];
        assert!(channel.request(message.clone().into(), soon()).await.unwrap() == message, "no limit of axum applies");
        let who = channel.request("who".into(), soon()).await.unwrap();
        assert_eq!(who, if tells { r#"Some("127.0.0.1") None"# } else { "None None" });

        // Stopping drops what is under way there as well; the server of the application goes on.
        let begun = Instant::now();
        let call = async {
            let answer = channel.request("sleep".into(), CallOptions::default()).await;
            assert_eq!(kind(answer), Some(ErrorKind::Unreachable));
        };
        let stop = async {
            service.until_working(1).await;
            transport.stop_listening(millis(200)).await.unwrap();
            assert_eq!(service.working(), 0);
        };
        tokio::join!(call, stop);
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert!(transport.addresses().is_empty());
        assert_eq!(kind(channel.request("x".into(), soon()).await), Some(ErrorKind::Unreachable));

        let mut raw = Raw::to(socket).await;
        raw.say("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(raw.rest().await.ends_with("home"));

        transport.listen(service.clone()).await.unwrap();
        assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
        drop(transport);
        within(2, async { while channel.request("x".into(), soon()).await.is_ok() {} }).await;
    }
}

#[tokio::test]
async fn routes_and_a_socket_of_its_own() {
    let transport = HttpTransport::builder().bind("127.0.0.1:0").into_transport().unwrap();
    let socket = application(transport.router(), true).await;
    let service = Arc::new(Obedient::default());
    transport.listen(service.clone()).await.unwrap();
    for address in [transport.addresses().remove(0), Address::http(format!("http://{socket}/deep/sync/"))] {
        assert_eq!(dial(&address).await.request("x".into(), soon()).await.unwrap(), "x");
    }
    assert_eq!(service.seen(), 2);
    transport.close().await.unwrap();
}
