//! The process of a peer, as it is seen by whoever has started it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::host::Host;
use super::peer::Settings;
use crate::backend::children;

/// Names its settings to a child.
pub const SETTINGS: &str = "EIDETICA_SOAK_PEER";
/// Before everything that a child says; the harness of tests prints lines, too.
pub const MARK: &str = "=> ";
/// The longest that anything takes that a peer is told.
const ANSWER: Duration = Duration::from_secs(60);

/// A process that runs. Dropping it kills it.
pub struct Process {
    child: Child,
    /// `None` once it is to end.
    orders: Option<ChildStdin>,
    said: Receiver<String>,
}

impl Process {
    /// Starts one, on a host of its own if there is one, and has its key.
    pub fn start(directory: &Path, settings: &Settings, host: Option<&Host>) -> (Process, String) {
        let mut command = children::command("sync::soak::peer::child_is_a_peer", directory);
        // glibc gives threads that come and go an arena each, up to eight for a core, and what one keeps of a busy moment is no use to the
        // others: until all have had theirs, a process grows by what nobody holds.
        command.env(SETTINGS, settings.write()).env("MALLOC_ARENA_MAX", "1");
        if let Some(host) = host {
            command = host.on(&command);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (orders, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let (say, said) = channel();
        // Ends with what the process says, and that with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((_, said)) = line.split_once(MARK) {
                    let _ = say.send(said.to_owned());
                }
            }
        });
        let process = Process { child, orders, said };
        let ready = process.hear();
        let key = ready.strip_prefix("ready ").expect("its key").to_owned();
        (process, key)
    }

    /// Tells it something, and does not wait.
    pub fn tell(&mut self, order: &str) {
        writeln!(self.orders.as_ref().unwrap(), "{order}").expect("the peer listens");
    }

    /// What it answers next.
    pub fn hear(&self) -> String {
        self.said.recv_timeout(ANSWER).expect("the peer answers")
    }

    pub fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.hear()
    }

    /// The memory that it has now, in bytes, as Linux counts it.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// SIGKILL. What it has still said.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.iter().collect()
    }

    /// Has it close its store and end.
    pub fn end(mut self) {
        self.orders = None;
        assert!(self.child.wait().unwrap().success(), "the peer has ended badly");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
