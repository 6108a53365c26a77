//! iroh itself, without Eidetica: what sync over it stands beside.

use std::time::{Duration, Instant};

use iroh::endpoint::{Connection, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode};

use crate::Result;

const ALPN: &[u8] = b"eidetica-bench/1";
/// No message is longer.
const MOST: usize = 64 << 20;

/// Two endpoints on loopback with a connection between them. Whoever is asked answers with as many bytes as the first eight of
/// the question say.
pub struct RawIroh {
    connection: Connection,
    endpoints: [Endpoint; 2],
    answering: tokio::task::JoinHandle<()>,
}

impl RawIroh {
    /// Connects them.
    pub async fn open() -> Result<RawIroh> {
        let (here, there) = (endpoint().await?, endpoint().await?);
        let sockets = there.bound_sockets();
        let to = sockets.into_iter().fold(EndpointAddr::new(there.id()), EndpointAddr::with_ip_addr);
        let asked = there.clone();
        let answering = tokio::spawn(async move {
            // Ends with the endpoint, or with this bench.
            while let Some(incoming) = asked.accept().await {
                let Ok(connection) = incoming.await else { continue };
                answer(connection).await;
            }
        });
        let connection = here.connect(to, ALPN).await?;
        Ok(RawIroh { connection, endpoints: [here, there], answering })
    }

    /// A question and its answer, of so many bytes each, on a stream of their own.
    pub async fn round_trip(&self, out: usize, back: usize) -> Result<Duration> {
        let mut question = vec![7; out.max(8)];
        question[..8].copy_from_slice(&(back as u64).to_be_bytes());
        let began = Instant::now();
        let (mut send, mut receive) = self.connection.open_bi().await?;
        send.write_all(&question).await?;
        send.finish()?;
        let answer = receive.read_to_end(MOST).await?;
        let took = began.elapsed();
        if answer.len() != back { Err("iroh has lost bytes".into()) } else { Ok(took) }
    }

    /// The median of round trips of so many bytes.
    pub async fn median(&self, out: usize, back: usize, times: usize) -> Result<Duration> {
        let mut all = Vec::with_capacity(times);
        for _ in 0..times {
            all.push(self.round_trip(out, back).await?);
        }
        all.sort();
        Ok(all[times / 2])
    }

    /// So many round trips, one after the other, that carry so many bytes together.
    pub async fn carry(&self, [requests, out, back]: [u64; 3]) -> Result<Duration> {
        let each = |bytes: u64| usize::try_from(bytes / requests.max(1));
        let (out, back) = (each(out)?, each(back)?);
        let began = Instant::now();
        for _ in 0..requests {
            self.round_trip(out, back).await?;
        }
        Ok(began.elapsed())
    }

    /// Ends both.
    pub async fn close(self) {
        for endpoint in self.endpoints {
            endpoint.close().await;
        }
        self.answering.abort();
    }
}

async fn endpoint() -> Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal).alpns(vec![ALPN.to_vec()]).relay_mode(RelayMode::Disabled);
    Ok(builder.clear_ip_transports().bind_addr("127.0.0.1:0")?.bind().await?)
}

async fn answer(connection: Connection) {
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        let Ok(question) = receive.read_to_end(MOST).await else { return };
        let wanted = question.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) as usize;
        if send.write_all(&vec![7; wanted.min(MOST)]).await.is_err() || send.finish().is_err() {
            return;
        }
    }
}
