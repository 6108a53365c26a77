//! Connections: taken, and watched over.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::Caller;
use iroh::Endpoint;
use iroh::endpoint::{Connection, Incoming};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::answer::answer;
use super::crowd::Admitted;
use super::gate::{Gate, Serving};
use super::origin::Origin;
use crate::address::device;
use crate::codes::{BUSY, DONE};
use crate::deadline::after;

/// How long the last word to peers may take, who may have gone.
const FAREWELL: Duration = Duration::from_secs(2);

/// Takes connections for whoever listens, and refuses them while nobody does, until it is told to end. Then it ends all
/// connections of the endpoint, in both directions, and the endpoint.
pub(crate) async fn accept(endpoint: Endpoint, gate: Arc<Gate>, mut end: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = end.wait_for(|end| *end) => break,
            // Those that have ended are let go of at once.
            Some(_) = connections.join_next() => {}
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                admit(incoming, &gate, &mut connections);
            }
        }
    }
    connections.shutdown().await;
    let sockets = endpoint.bound_sockets();
    let _ = timeout(FAREWELL, endpoint.close()).await;
    drop(endpoint);
    let _ = timeout(FAREWELL, freed(&sockets)).await;
}

/// Waits until these can be bound again: iroh lets go of its sockets a moment after its end.
async fn freed(sockets: &[SocketAddr]) {
    for socket in sockets {
        while UdpSocket::bind(socket).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

fn admit(incoming: Incoming, gate: &Gate, connections: &mut JoinSet<()>) {
    let Some(serving) = gate.serving() else { return incoming.refuse() };
    if serving.crowd.is_wary() && !incoming.remote_addr_validated() {
        if let Err(error) = incoming.retry() {
            error.into_incoming().refuse();
        }
        return;
    }
    let origin = Origin::of(&incoming.remote_addr());
    let Some(admitted) = serving.crowd.admit(&origin.one) else { return incoming.refuse() };
    let (number, admitted) = (admitted.number(), Arc::new(admitted));
    let crowd = serving.crowd.clone();
    crowd.serves(number, connections.spawn(guest(incoming, serving, origin, admitted)));
}

/// Serves one connection until it ends, is silent for too long, or is told to stop.
async fn guest(incoming: Incoming, serving: Arc<Serving>, origin: Origin, admitted: Arc<Admitted>) {
    let Ok(accepting) = incoming.accept() else { return };
    let mut cut = serving.cut();
    let connection = tokio::select! {
        biased;
        _ = cut.wait_for(|cut| *cut) => return,
        accepted = timeout(serving.limits.handshake_timeout, accepting) => match accepted {
            Ok(Ok(connection)) => connection,
            _ => return,
        },
    };
    if !admitted.belongs_to(device(connection.remote_id())) {
        connection.close(BUSY, b"too many connections");
        return;
    }
    tokio::select! {
        biased;
        _ = cut.wait_for(|cut| *cut) => {}
        () = serve(&connection, &serving, &origin, &admitted) => {}
    }
    // Requests under way were dropped with the set that they run in.
    connection.close(DONE, b"");
}

async fn serve(connection: &Connection, serving: &Arc<Serving>, origin: &Origin, admitted: &Arc<Admitted>) {
    let caller = Caller::unknown().proven(device(connection.remote_id())).origin(origin.shown.clone());
    // Work that goes on without its caller keeps no place.
    let vouched = Arc::downgrade(admitted);
    let caller = caller.hears(move |peer| {
        vouched.upgrade().inspect(|admitted| admitted.is_known(peer.is_some()));
    });
    let mut requests = JoinSet::new();
    let mut silent = after(serving.limits.idle_timeout);
    loop {
        tokio::select! {
            Some(_) = requests.join_next() => {
                silent = after(serving.limits.idle_timeout);
                admitted.has(requests.len());
            }
            opened = connection.accept_bi() => {
                let Ok((send, receive)) = opened else { return };
                let serving = serving.clone();
                let owner = admitted.owner().unwrap_or_else(|| origin.one.clone());
                requests.spawn(answer(serving, caller.clone(), owner, send, receive));
                admitted.has(requests.len());
            }
            () = sleep_until(silent), if requests.is_empty() => return,
        }
    }
}
