//! What the other process does.

use std::io::{BufRead, Write};

use eidetica_contract::{Backend, ErrorKind, Result};
use tokio::sync::mpsc;

use super::MARK;
use crate::backend::{ONE, OTHER, put};

/// A flush follows every so many commits, when it writes until it is killed.
const FLUSHED: u32 = 7;

/// Opens the store, answers whether it could, and does as it is told until its input ends.
pub(super) fn obey(open: impl AsyncFnOnce(String) -> Result<Box<dyn Backend>>, store: String) -> ! {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        match open(store).await {
            Err(error) => answer(&format!("error {:?}", error.kind())),
            Ok(backend) => {
                answer("open");
                work(backend).await;
            }
        }
    });
    std::process::exit(0)
}

/// Says a line. Whoever cannot be told any more is gone, and with them the reason to be here.
fn answer(text: &str) {
    let mut output = std::io::stdout().lock();
    if output.write_all(format!("{MARK}{text}\n").as_bytes()).and_then(|()| output.flush()).is_err() {
        std::process::exit(1);
    }
}

async fn work(backend: Box<dyn Backend>) {
    let (tell, mut orders) = mpsc::channel::<String>(1);
    std::thread::spawn(move || {
        for order in std::io::stdin().lock().lines().map_while(|line| line.ok()) {
            if tell.blocking_send(order).is_err() {
                return;
            }
        }
        // Whoever gave the orders is gone, in the middle of a long one perhaps.
        std::process::exit(1);
    });
    while let Some(order) = orders.recv().await {
        let words: Vec<&str> = order.split(' ').collect();
        let done = match words[..] {
            ["write", from] => write(&*backend, from.parse().unwrap_or(1)).await,
            ["put", key, value] => {
                backend.commit(put(ONE, key.to_owned(), value.to_owned())).await.map(|()| "done".into())
            }
            ["get", key] => get(&*backend, key).await.map(|value| value.unwrap_or_else(|| "nothing".into())),
            ["count", times] => count(&*backend, times.parse().unwrap_or(0)).await,
            ["changed"] => backend.changed().await.map(|number| number.to_string()),
            ["flush"] => backend.flush().await.map(|()| "done".into()),
            ["close"] => backend.close().await.map(|()| "done".into()),
            _ => Ok("what?".to_owned()),
        };
        answer(&done.unwrap_or_else(|error| format!("error {:?}", error.kind())));
    }
}

/// Commits pairs of rows with one number after the other, and flushes now and then, until it is killed.
async fn write(backend: &dyn Backend, from: u32) -> Result<String> {
    for number in from.. {
        let mut batch = put(ONE, number.to_be_bytes().to_vec(), vec![number as u8; 3000]);
        batch.put(OTHER, number.to_be_bytes().to_vec(), vec![number as u8; 3000]);
        backend.commit(batch).await?;
        answer(&format!("committed {number}"));
        if number.is_multiple_of(FLUSHED) {
            backend.flush().await?;
            answer(&format!("flushed {number}"));
        }
    }
    Ok("there is no greater number".to_owned())
}

async fn get(backend: &dyn Backend, key: &str) -> Result<Option<String>> {
    let value = backend.snapshot().await?.get(ONE, key.as_bytes()).await?;
    Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
}

/// Adds one to what stands under `count`, so many times, and says how often somebody else was faster.
async fn count(backend: &dyn Backend, times: u32) -> Result<String> {
    let mut conflicts = 0;
    for _ in 0..times {
        while !count_once(backend).await? {
            conflicts += 1;
        }
    }
    Ok(format!("conflicts {conflicts}"))
}

/// False: somebody else was faster.
pub(crate) async fn count_once(backend: &dyn Backend) -> Result<bool> {
    let found = backend.snapshot().await?.get(ONE, b"count").await?;
    let number: u32 = found.as_deref().map_or(0, |text| String::from_utf8_lossy(text).parse().unwrap_or(0));
    tokio::task::yield_now().await;
    let mut batch = put(ONE, "count", (number + 1).to_string());
    match found {
        Some(found) => batch.expect_value(ONE, "count", found),
        None => batch.expect_absent(ONE, "count"),
    }
    match backend.commit(batch).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}
