//! The story that the demo tells, part by part.

use std::path::Path;
use std::time::{Duration, Instant};

use eidetica::{Error, ErrorKind};
use serde_json::{Value as Json, json};
use tokio::io::AsyncReadExt;

use super::checks::Teller;
use super::{Actor, Stage, interrupted, latency};
use crate::arguments::Demo;
use crate::failure::{Failure, PENDING};

/// The table of airports, so that the demo runs wherever the program lies.
const AIRPORTS: &[u8] = include_bytes!("../../../examples/data/airports.csv");

/// Plays it, and gives what was measured.
pub async fn play(stage: &mut Stage, arguments: &Demo, teller: &mut Teller<'_>) -> Result<Json, Failure> {
    let Stage { anna, ben, directory } = stage;
    let imported = import(anna, directory.path(), teller).await?;
    let joined = join(anna, ben, &imported, teller).await?;
    let merged = apart_and_together(anna, ben, teller).await?;
    let transfer = interrupted::play(anna, ben, arguments.entries, teller).await?;
    let pushed = latency::play(anna, ben, &imported, arguments.pushes, teller).await?;
    end(anna, ben, teller).await?;
    Ok(json!({
        "rows": imported["rows"], "bootstrap": joined, "merge": merged, "interrupted": transfer, "push": pushed,
    }))
}

async fn import(anna: &Actor, directory: &Path, teller: &mut Teller<'_>) -> Result<Json, Failure> {
    teller.step("Anna imports the airports into a database of hers.")?;
    let file = directory.join("airports.csv");
    let written = std::fs::write(&file, AIRPORTS);
    written.map_err(|error| Error::new(ErrorKind::Io, "the table of airports cannot be written").caused_by(error))?;
    let path = file.to_str().unwrap_or_default();
    let import = ["import", path, "--database", "travel", "--table", "airports", "--key", "iata"];
    let imported = anna.done(&import).await?.into_iter().next().unwrap_or_default();
    let (rows, seconds) = (imported["rows"].as_u64().unwrap_or(0), imported["seconds"].as_f64().unwrap_or(0.0));
    teller.say(&format!("{rows} rows in {seconds:.2} s"))?;
    teller.check(rows == 3376 && imported["written"] == rows, "all 3376 rows were written")?;
    Ok(imported)
}

async fn join(anna: &mut Actor, ben: &mut Actor, imported: &Json, teller: &mut Teller<'_>) -> Result<Json, Failure> {
    teller.step(
        "Anna and Ben each serve their store, as two processes; Ben, who cannot be called, asks Anna for the database.",
    )?;
    anna.serve().await?;
    ben.serve().await?;
    let address = anna.address.clone().unwrap_or_default();
    let id = imported["id"].as_str().unwrap_or_default();
    teller.say(&format!("Anna listens at {address}"))?;
    let asked = ben.run(&["join", &address, id]).await?;
    teller.check(asked.code == i32::from(PENDING), "Ben is told that Anna has to decide first")?;
    let list = ben.done(&["list"]).await?;
    teller.check(list.is_empty(), "Ben has got nothing yet")?;
    let requests = anna.done(&["requests"]).await?;
    let request = requests.first().and_then(|request| request["request"].as_str()).unwrap_or_default().to_owned();
    let same = asked.error["context"]["request_id"] == request.as_str();
    teller.check(requests.len() == 1 && same, "Anna sees his request, and no other")?;

    // Ben waits, and Anna approves.
    let mut waiting = ben.start(&["join", &address, id, "--wait", "120"], teller.json())?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    anna.done(&["approve", &request]).await?;
    let status = waiting.wait().await;
    let mut said = String::new();
    if let Some(mut out) = waiting.stdout.take() {
        let _ = out.read_to_string(&mut said).await;
    }
    teller.check(status.is_ok_and(|status| status.success()), "Ben gets the database once Anna has approved")?;
    let seconds = began.elapsed().as_secs_f64();
    let ((hers, rows), (his, _)) = (anna.rows("airports").await?, ben.rows("airports").await?);
    teller.say(&format!("{}, {seconds:.2} s after the approval", said.trim()))?;
    teller.check(hers == his && rows == 3376, "both have the same 3376 rows, compared cell by cell")?;
    Ok(json!({ "seconds": seconds, "rows": rows }))
}

async fn apart_and_together(anna: &mut Actor, ben: &mut Actor, teller: &mut Teller<'_>) -> Result<Json, Failure> {
    teller.step("Both stop serving, and edit while they are apart: SEA in the same field, PDX in different ones.")?;
    anna.stop().await?;
    ben.stop().await?;
    anna.done(&["set", "travel", "airports", "SEA", "name=Sea-Tac"]).await?;
    ben.done(&["set", "travel", "airports", "SEA", "name=Seattle International"]).await?;
    anna.done(&["set", "travel", "airports", "PDX", "name=Portland International"]).await?;
    ben.done(&["set", "travel", "airports", "PDX", "elevation=9"]).await?;
    let ((hers, _), (his, _)) = (anna.rows("airports").await?, ben.rows("airports").await?);
    teller.check(hers != his, "their tables differ")?;

    teller.step("They serve again, and Ben finds Anna by himself.")?;
    let began = Instant::now();
    let found = anna.serve().await?;
    ben.serve().await?;
    if !found {
        // Another program has taken the port meanwhile.
        teller.say("Anna had to listen elsewhere, so Ben is told where")?;
        ben.done(&["sync", &anna.address.clone().unwrap_or_default()]).await?;
    }
    let seconds = converge(anna, ben, began).await?;
    teller.say(&format!("the same heads {seconds:.2} s after the start of both"))?;
    let ((hers, rows), (his, _)) = (anna.rows("airports").await?, ben.rows("airports").await?);
    teller.check(hers == his, "both have the same rows again")?;
    let pdx = ben.done(&["get", "travel", "airports", "PDX"]).await?;
    let fields = &pdx[0]["fields"];
    let both = fields["name"] == "Portland International" && fields["elevation"] == 9;
    teller.check(both, "PDX has what Anna wrote and what Ben wrote")?;
    let conflicts = ben.done(&["rows", "travel", "airports", "--conflicts"]).await?;
    let shown = conflicts.first().map(Json::to_string).unwrap_or_default();
    teller.say(&format!("the conflict, as Ben's `rows --conflicts` shows it: {shown}"))?;
    let both = shown.contains("Sea-Tac") && shown.contains("Seattle International");
    teller.check(conflicts.len() == 1 && both, "SEA is the one conflict, and shows both names")?;
    let hers = anna.done(&["rows", "travel", "airports", "--conflicts"]).await?;
    teller.check(hers == conflicts, "Anna sees the same one")?;
    Ok(json!({ "seconds": seconds, "rows": rows, "conflicts": conflicts.len() }))
}

/// Waits until both have the same heads; how long that took.
pub async fn converge(anna: &Actor, ben: &Actor, began: Instant) -> Result<f64, Failure> {
    loop {
        if anna.heads().await? == ben.heads().await? {
            return Ok(began.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn end(anna: &mut Actor, ben: &mut Actor, teller: &mut Teller<'_>) -> Result<(), Failure> {
    teller.step("Both stop; every signature, every right and every record is checked.")?;
    converge(anna, ben, Instant::now()).await?;
    anna.stop().await?;
    ben.stop().await?;
    for actor in [&*anna, &*ben] {
        let verified = actor.done(&["verify", "travel"]).await?;
        let clean = verified.first().is_some_and(|report| report["clean"] == true && report["whole"] == true);
        let entries = verified.first().and_then(|report| report["entries"].as_u64()).unwrap_or(0);
        teller.check(clean, &format!("{}: {entries} entries, no problems", actor.name))?;
    }
    let (hers, his) = (anna.heads().await?, ben.heads().await?);
    teller.check(hers == his, "both have the same heads")
}
