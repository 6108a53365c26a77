//! How long it takes until a change on one node shows on the other.

use std::time::{Duration, Instant};

use eidetica::{Error, ErrorKind};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Actor;
use super::checks::Teller;
use crate::failure::Failure;
use crate::node::Operation;

/// No change may take longer.
const LONGEST: Duration = Duration::from_secs(20);
/// How long a node may take to tell what it has done.
const TELLING: Duration = Duration::from_secs(5);
const TABLE: &str = "pushes";
const FIELD: &str = "value";

pub async fn play(
    anna: &Actor,
    ben: &mut Actor,
    imported: &Json,
    pushes: u64,
    teller: &mut Teller<'_>,
) -> Result<Json, Failure> {
    let database = imported["id"].as_str().unwrap_or_default();
    teller.step(&format!("Anna writes {pushes} times. She cannot call Ben, who asks her for news instead."))?;
    let asked = measure(anna, ben, database, pushes, teller).await?;

    teller.step("Ben listens from now on, too, and Anna learns from him where.")?;
    ben.stop().await?;
    ben.listens = true;
    ben.serve().await?;
    knows(anna, ben).await?;
    teller.say(&format!("Ben listens at {}", ben.address.as_deref().unwrap_or_default()))?;

    teller.step(&format!("Each writes {pushes} times, and calls the other at once."))?;
    let there = pushed(anna, ben, database, pushes, teller).await?;
    let back = pushed(ben, anna, database, pushes, teller).await?;
    Ok(json!({ "asked_for": asked, "anna_to_ben": there, "ben_to_anna": back }))
}

/// Waits until one has been told where the other listens.
async fn knows(one: &Actor, other: &Actor) -> Result<(), Failure> {
    let until = Instant::now() + LONGEST;
    loop {
        let peers = one.done(&["peers"]).await?;
        let mut addresses = peers.iter().filter_map(|peer| peer["addresses"].as_array()).flatten();
        if addresses.any(|address| address.as_str() == other.address.as_deref()) {
            return Ok(());
        }
        if Instant::now() >= until {
            let message = "this is not so: a node that listens tells its peer where within twenty seconds";
            return Err(Error::new(ErrorKind::Timeout, message).into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Measures, and sees to it that who writes calls.
async fn pushed(
    from: &Actor,
    to: &Actor,
    database: &str,
    pushes: u64,
    teller: &mut Teller<'_>,
) -> Result<Json, Failure> {
    let told = from.heard("synced").len();
    let mut measured = measure(from, to, database, pushes, teller).await?;
    let until = Instant::now() + TELLING;
    let carried = loop {
        let rounds = from.heard("synced").split_off(told);
        let carried = rounds.iter().filter_map(|round| round["sent"].as_u64()).sum::<u64>();
        // What a node tells may come later than what it does.
        if carried >= pushes || Instant::now() >= until {
            break carried;
        }
        sleep(Duration::from_millis(20)).await;
    };
    // On a machine that is busy with other things, the other may have asked before it was called.
    teller.check(carried * 2 > pushes, &format!("{carried} of them by calls of {}", from.name))?;
    measured["carried"] = carried.into();
    Ok(measured)
}

async fn measure(
    from: &Actor,
    to: &Actor,
    database: &str,
    pushes: u64,
    teller: &mut Teller<'_>,
) -> Result<Json, Failure> {
    let (database, table, key, field) =
        (database.to_owned(), TABLE.to_owned(), format!("from {}", from.name), FIELD.to_owned());
    let (mut writer, mut reader) = (from.line().await?, to.line().await?);
    let (shown, mut seen) = mpsc::unbounded_channel();
    let follow =
        Operation::Follow { database: database.clone(), table: table.clone(), key: key.clone(), field: field.clone() };
    let follower = tokio::spawn(async move {
        let mut tell = |told: Json| {
            // Nobody listens any longer at the end.
            let _ = shown.send((told["value"].as_i64(), Instant::now()));
        };
        reader.ask(&follow, &mut tell).await
    });
    let mut times = Vec::new();
    for value in 1..=pushes as i64 {
        let (database, table, key, field) = (database.clone(), table.clone(), key.clone(), field.clone());
        if value == 1 {
            // The follower follows from now on.
            timeout(LONGEST, seen.recv()).await.map_err(|_| late())?;
        }
        let began = Instant::now();
        writer.ask(&Operation::Put { database, table, key, field, value }, &mut |_| {}).await?;
        loop {
            let Some((found, at)) = timeout(LONGEST, seen.recv()).await.map_err(|_| late())? else {
                return Err(late().into());
            };
            if found == Some(value) {
                times.push(at.saturating_duration_since(began));
                break;
            }
        }
    }
    follower.abort();
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1e3;
    let (median, p99, most) = (at(0.5), at(0.99), at(1.0));
    let (here, there) = (from.name, to.name);
    teller.check(
        times.len() as u64 == pushes,
        &format!(
            "{pushes} changes of {here} showed at {there}: median {median:.1} ms, 99 of 100 within {p99:.1} ms, longest \
             {most:.1} ms, from the call to write, flushed to disk, until it is read there"
        ),
    )?;
    Ok(json!({ "pushes": pushes, "median_ms": median, "p99_ms": p99, "max_ms": most }))
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "this is not so: a change shows on the other side within twenty seconds")
}
