//! A node of the demo: a store, the process that serves it, and the commands that its owner runs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eidetica::{Error, ErrorKind};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::failure::Failure;
use crate::node::{Line, Operation};

/// How long a process may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Actor {
    pub name: &'static str,
    program: PathBuf,
    file: PathBuf,
    serving: Option<Serving>,
    /// Whether others can call it, from when it next begins to serve.
    pub listens: bool,
    /// Where it has listened; it listens there again if it can.
    pub address: Option<String>,
}

struct Serving {
    child: Child,
    heard: Arc<Mutex<Vec<Json>>>,
    reader: JoinHandle<()>,
}

/// How a command has ended.
pub struct Ended {
    pub code: i32,
    pub lines: Vec<Json>,
    pub error: Json,
}

impl Actor {
    pub fn new(name: &'static str, listens: bool, directory: &Path) -> Result<Actor, Error> {
        let program = std::env::current_exe().map_err(|error| starting("this program", error))?;
        Ok(Actor { name, program, file: directory.join(format!("{name}.db")), serving: None, listens, address: None })
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.file.display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("EIDETICA_STORE", self.url()).env_remove("EIDETICA_PASSWORD_FILE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a command on the store.
    pub async fn run(&self, arguments: &[&str]) -> Result<Ended, Failure> {
        let output = self.command(&[&["--json"], arguments].concat()).output().await;
        let output = output.map_err(|error| starting("a command", error))?;
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines = lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(|error| {
            let message = "a command of the demo has said something that is no JSON";
            Error::new(ErrorKind::Internal, message).with("command", arguments.join(" ")).caused_by(error)
        })?;
        let error = serde_json::from_slice::<Json>(&output.stderr).map_or(Json::Null, |error| error["error"].clone());
        let Some(code) = output.status.code() else {
            let message = "a command of the demo was killed";
            return Err(Error::new(ErrorKind::Internal, message).with("command", arguments.join(" ")).into());
        };
        Ok(Ended { code, lines, error })
    }

    /// Runs a command that has to succeed.
    pub async fn done(&self, arguments: &[&str]) -> Result<Vec<Json>, Failure> {
        let ended = self.run(arguments).await?;
        if ended.code == 0 {
            return Ok(ended.lines);
        }
        let message = "a command of the demo has failed";
        let error =
            Error::new(ErrorKind::Internal, message).with("command", arguments.join(" ")).with("node", self.name);
        let error = error.with("exit_code", ended.code);
        Err(error.with("message", ended.error["message"].as_str().unwrap_or_default()).into())
    }

    /// Starts a command whose progress bar shows here, unless it is to be silent.
    pub fn start(&self, arguments: &[&str], silent: bool) -> Result<Child, Failure> {
        let mut command = self.command(arguments);
        command.stderr(if silent { Stdio::null() } else { Stdio::inherit() });
        Ok(command.spawn().map_err(|error| starting("a command", error))?)
    }

    /// What `rows` says of a table, as one hash, and how many rows there are.
    pub async fn rows(&self, table: &str) -> Result<(blake3::Hash, usize), Failure> {
        let rows = self.done(&["rows", "travel", table]).await?;
        let mut hash = blake3::Hasher::new();
        for row in &rows {
            hash.update(row.to_string().as_bytes()).update(b"\n");
        }
        Ok((hash.finalize(), rows.len()))
    }

    /// The heads of the database, and how many entries it has.
    pub async fn heads(&self) -> Result<(Json, u64), Failure> {
        let info = self.done(&["info", "travel"]).await?.into_iter().next().unwrap_or_default();
        Ok((info["heads"].clone(), info["entries"].as_u64().unwrap_or(0)))
    }

    /// Begins to serve: where it did before, if it did. True if that is so.
    pub async fn serve(&mut self) -> Result<bool, Failure> {
        if !self.listens {
            return match self.serve_at(None).await? {
                Ok(()) => Ok(true),
                Err(error) => Err(cannot_serve(&error)),
            };
        }
        let before = self.address.clone();
        let mut refused = None;
        let again = before.iter().flat_map(|address| std::iter::repeat_n(address.as_str(), 5));
        for address in again.chain(["127.0.0.1:0"]) {
            match self.serve_at(Some(address)).await? {
                Ok(()) => return Ok(before.is_none() || self.address == before),
                Err(error) => refused = Some(error),
            }
            sleep(Duration::from_millis(200)).await;
        }
        Err(cannot_serve(&refused.unwrap_or_default()))
    }

    async fn serve_at(&mut self, address: Option<&str>) -> Result<Result<(), String>, Failure> {
        let mut command = self.command(&["--json", "serve", "--until-stdin-ends"]);
        if let Some(address) = address {
            command.args(["--http", address]);
        }
        // It ends with this process, however that ends.
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(|error| starting("a node", error))?;
        let out = child.stdout.take().ok_or_else(lost)?;
        let mut lines = BufReader::new(out).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.map_err(|_| lost())?;
        let Some(first) = first.map_err(|error| starting("a node", error))? else {
            let mut text = String::new();
            if let Some(mut err) = child.stderr.take() {
                let _ = err.read_to_string(&mut text).await;
            }
            return Ok(Err(text));
        };
        let first: Json = serde_json::from_str(&first).unwrap_or_default();
        self.address = first["addresses"][0].as_str().map(str::to_owned);
        let heard = Arc::<Mutex<Vec<Json>>>::default();
        let reader = tokio::spawn(hear(lines, heard.clone()));
        self.serving = Some(Serving { child, heard, reader });
        Ok(Ok(()))
    }

    /// What the node has said since it was started, of this kind.
    pub fn heard(&self, event: &str) -> Vec<Json> {
        let Some(serving) = &self.serving else { return Vec::new() };
        let heard = serving.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|line| line["event"] == event).cloned().collect()
    }

    /// A line to the node.
    pub async fn line(&self) -> Result<Line, Failure> {
        Ok(Line::open(&self.file).await?.ok_or_else(lost)?)
    }

    /// How the node stands with its peer.
    pub async fn status(&self, line: &mut Line) -> Result<Json, Failure> {
        let status = line.ask(&Operation::Status, &mut |_| {}).await?;
        Ok(status["relationships"][0].clone())
    }

    /// Stops the node, and insists that it ends well.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        let mut line = self.line().await?;
        line.ask(&Operation::Stop, &mut |_| {}).await?;
        let Some(mut serving) = self.serving.take() else { return Ok(()) };
        let status = timeout(PATIENCE, serving.child.wait()).await.map_err(|_| lost())?;
        let _ = serving.reader.await;
        if status.is_ok_and(|status| status.success()) { Ok(()) } else { Err(lost().into()) }
    }

    /// Kills the node with SIGKILL: it has no time for anything.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        let Some(mut serving) = self.serving.take() else { return Ok(()) };
        serving.child.kill().await.map_err(|error| starting("the end of a node", error))?;
        let _ = serving.reader.await;
        Ok(())
    }

    /// Sees to it that no process is left.
    pub async fn end(mut self) {
        let _ = self.kill().await;
    }
}

async fn hear(mut lines: Lines<BufReader<ChildStdout>>, heard: Arc<Mutex<Vec<Json>>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(line) = serde_json::from_str(&line) {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
}

fn starting(what: &'static str, error: std::io::Error) -> Error {
    let message = "a process of the demo cannot be started or stopped; see the cause";
    Error::new(ErrorKind::Io, message).with("process", what).caused_by(error)
}

fn cannot_serve(why: &str) -> Failure {
    let message = "a node of the demo cannot serve its store on this machine";
    Error::new(ErrorKind::Io, message).with("message", why.trim()).into()
}

fn lost() -> Error {
    Error::new(ErrorKind::Internal, "a node of the demo has ended early, or does not begin or end in time")
}
