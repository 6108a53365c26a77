//! Processes that serve stores, for the tests that need some.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::{Value as Json, json};

use crate::kit::{Ended, Place, until, wait};

/// A process that serves a store. It is stopped when the test ends.
pub struct Serving {
    child: Option<Child>,
    /// The first of its addresses.
    pub address: String,
    /// What it has said of where it listens: transport and address.
    pub listening: Vec<(String, String)>,
    pub device: String,
}

/// Over HTTP, at a port that is free.
pub fn serve(place: &Place) -> Serving {
    serve_at(place, "127.0.0.1:0")
}

pub fn serve_at(place: &Place, address: &str) -> Serving {
    serve_by(place, &["--http", address])
}

pub fn serve_by(place: &Place, arguments: &[&str]) -> Serving {
    serve_with(place.command(&[&["--json", "serve"], arguments].concat()))
}

/// By a command of the caller's.
pub fn serve_with(mut command: Command) -> Serving {
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
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    let listening = said["listening"].as_array().unwrap().iter();
    let listening = listening.map(|one| (text(&one["transport"]), text(&one["address"]))).collect();
    // Who lets nobody in has no address.
    let address = said["addresses"][0].as_str().unwrap_or_default().to_owned();
    Serving { child: Some(child), address, listening, device: text(&said["device"]) }
}

impl Serving {
    /// The address of a transport.
    pub fn at(&self, transport: &str) -> &str {
        let found = self.listening.iter().find(|(label, _)| label == transport);
        &found.unwrap_or_else(|| panic!("{transport} does not listen: {:?}", self.listening)).1
    }

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

pub fn id(place: &Place) -> String {
    place.json(&["list"])[0]["id"].as_str().unwrap().to_owned()
}

/// Lets ben into what anna serves.
pub fn let_in(anna: &Place, serving: &Serving, ben: &Place) -> String {
    let_in_by(anna, &serving.address, ben)
}

pub fn let_in_by(anna: &Place, address: &str, ben: &Place) -> String {
    let id = id(anna);
    let (code, error) = ben.error(&["join", address, &id]);
    assert_eq!((code, &error["kind"]), (5, &json!("Pending")), "{error}");
    until("the request is there", || !anna.json(&["requests"]).is_empty());
    let request = anna.json(&["requests"]).remove(0);
    assert_eq!(request["request"], error["context"]["request_id"]);
    assert_eq!((&request["state"], &request["permission"]), (&json!("pending"), &json!("write")), "{request}");
    anna.run(&["approve", &request["request"].as_str().unwrap()[..8]]).ok();
    assert_eq!(anna.json(&["requests"]).len(), 0);
    assert_eq!(anna.json(&["requests", "--all"])[0]["state"], "approved");
    let joined = ben.json(&["join", address, &id]).remove(0);
    assert_eq!((&joined["name"], &joined["permission"]), (&json!("travel"), &json!("Write")), "{joined}");
    id
}

pub fn same(anna: &Place, ben: &Place) -> bool {
    let heads = |place: &Place| {
        let ended = place.run(&["--json", "info", "travel"]);
        serde_json::from_str::<Json>(&ended.out).map(|info| info["heads"].clone()).ok()
    };
    heads(anna).is_some() && heads(anna) == heads(ben)
}
