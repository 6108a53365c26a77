//! A process that serves a store.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

use crate::kit::{Ended, Place, wait};

/// A process that serves a store. It is stopped when the test ends.
pub struct Serving {
    child: Option<Child>,
    pub address: String,
    pub device: String,
}

pub fn serve(place: &Place) -> Serving {
    serve_at(place, "127.0.0.1:0")
}

pub fn serve_at(place: &Place, address: &str) -> Serving {
    serve_by(place.command(&["--json", "serve", "--http", address]))
}

/// The same by a command of the caller's.
pub fn serve_by(mut command: Command) -> Serving {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    if line.is_empty() {
        panic!("it does not serve: {:?}", wait(child));
    }
    // What it says later must not fill the pipe.
    std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
    let said: Json = serde_json::from_str(&line).unwrap();
    let address = said["addresses"][0].as_str().unwrap().to_owned();
    Serving { child: Some(child), address, device: said["device"].as_str().unwrap().to_owned() }
}

impl Serving {
    pub fn stop(&mut self, signal: &str) -> Ended {
        let child = self.child.take().unwrap();
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status().unwrap();
        assert!(sent.success());
        wait(child)
    }

    /// The most memory that the process has ever used, in KiB, as Linux counts it.
    pub fn peak(&self) -> usize {
        let status = format!("/proc/{}/status", self.child.as_ref().unwrap().id());
        let status = std::fs::read_to_string(status).expect("the process is there");
        let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("Linux counts it");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
