//! From a host name to a TCP connection.

use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, Result};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::endpoint::Endpoint;

/// How long one address of a host is waited for before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);
/// How many addresses of one host are tried.
const TRIED: usize = 8;

/// Connects to the first address of the host that answers.
pub(crate) async fn tcp(endpoint: &Endpoint, within: Duration) -> Result<TcpStream> {
    let unreachable = |message: &'static str| Error::new(ErrorKind::Unreachable, message).with("address", endpoint);
    let connecting = async {
        let found = lookup_host((endpoint.host.as_str(), endpoint.port)).await;
        let found = found.map_err(|error| unreachable("the name of the host cannot be found").caused_by(error))?;
        let mut found = found.take(TRIED).peekable();
        let (mut tries, mut last) = (JoinSet::new(), None);
        loop {
            if let Some(address) = found.next() {
                tries.spawn(TcpStream::connect(address));
            }
            let more = found.peek().is_some();
            tokio::select! {
                tried = tries.join_next() => match tried {
                    Some(Ok(Ok(stream))) => return Ok(stream),
                    Some(Ok(Err(error))) => last = Some(error),
                    Some(Err(_)) | None if !more => break,
                    Some(Err(_)) | None => {}
                },
                () = sleep(STAGGER), if more => {}
            }
        }
        let error = unreachable("nobody accepts connections there");
        Err(match last {
            Some(last) => error.caused_by(last),
            None => error,
        })
    };
    let stream = timeout(within, connecting).await.map_err(|_| unreachable("nobody answers there"))??;
    // A request is one small write: waiting for more to send with it costs 40 ms.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
