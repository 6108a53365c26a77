//! What a round trip takes. Prints and asserts nothing: `cargo test --release -- --ignored --nocapture round_trip`.

use eidetica_contract::CallOptions;
use tokio::time::Instant;

use super::kit::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints times"]
async fn round_trip() {
    let server = server().await;
    let channel = dial(&server.address).await;
    for len in [100, 10_000, 1 << 20] {
        let message = bytes::Bytes::from(vec![7; len]);
        let mut times = Vec::new();
        for _ in 0..if len > 100_000 { 200 } else { 5000 } {
            let begun = Instant::now();
            channel.request(message.clone(), CallOptions::default()).await.unwrap();
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let [median, late] = [times.len() / 2, times.len() * 99 / 100].map(|at| times[at]);
        println!("{len:>8} bytes there and back: median {median:?}, 99 % within {late:?}");
    }
}
