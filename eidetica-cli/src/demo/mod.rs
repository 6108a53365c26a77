//! `demo`: shows with two nodes on this machine that what the README says is so.
//!
//! Each node is a store in a temporary directory and a process that serves it, this program started anew; what people do is
//! done by its other commands, on the store while it is served.

mod actor;
mod checks;
mod interrupted;
mod latency;
mod story;

use std::time::{Duration, Instant};

use eidetica::{Error, ErrorKind};
use serde_json::{Value as Json, json};

use crate::arguments::Demo;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use actor::Actor;
use checks::Teller;

/// How long the end may take.
const ENDING: Duration = Duration::from_secs(10);

/// The two nodes, and the directory that they lie in.
struct Stage {
    anna: Actor,
    ben: Actor,
    directory: tempfile::TempDir,
}

/// Runs the demo, and cleans up after it, however it ends.
pub async fn run(arguments: &Demo, output: &mut Output, interrupt: &Interrupt) -> Result<(), Failure> {
    let began = Instant::now();
    let directory = tempfile::Builder::new().prefix("eidetica-demo-").tempdir().map_err(|error| {
        let message = "no temporary directory can be made; name a place that can be written in TMPDIR";
        Error::new(ErrorKind::Io, message).caused_by(error)
    })?;
    let (anna, ben) = (Actor::new("anna", true, directory.path())?, Actor::new("ben", false, directory.path())?);
    let mut stage = Stage { anna, ben, directory };
    let mut teller = Teller::new(output);
    let result = {
        let limit = Duration::from_secs(arguments.limit);
        let story = async {
            match tokio::time::timeout(limit, story::play(&mut stage, arguments, &mut teller)).await {
                Ok(told) => told,
                Err(_) => {
                    let message =
                        "the demo has not come to its end in time; --limit gives it more, --entries makes it shorter";
                    Err(Error::new(ErrorKind::Timeout, message).with("seconds", arguments.limit).into())
                }
            }
        };
        interrupt.guard(story).await
    };
    let Stage { anna, ben, directory } = stage;
    let _ = tokio::time::timeout(ENDING, async { tokio::join!(anna.end(), ben.end()) }).await;
    let removed = directory.close().map_err(|error| {
        let message = "the temporary directory of the demo cannot be removed; remove it by hand";
        Failure::from(Error::new(ErrorKind::Io, message).caused_by(error))
    });
    if matches!(result, Err(Failure::Unread)) {
        return result.map(|_| ());
    }
    let seconds = began.elapsed().as_secs_f64();
    let line = match (&result, &removed) {
        (Ok(measured), Ok(())) => {
            let mut line = json!({ "demo": "ok", "seconds": seconds, "checks": teller.held() });
            if let (Json::Object(line), Json::Object(measured)) = (&mut line, measured.clone()) {
                line.extend(measured);
            }
            line
        }
        (Err(Failure::Interrupted), _) => json!({ "demo": "stopped", "seconds": seconds }),
        (Err(Failure::Error(error) | Failure::Usage(error)), _) | (_, Err(Failure::Error(error))) => {
            json!({ "demo": "failed", "seconds": seconds, "what": error.message() })
        }
        _ => json!({ "demo": "failed", "seconds": seconds }),
    };
    output.document(&line)?;
    output.flush()?;
    result?;
    removed
}
