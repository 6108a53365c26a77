//! Each example in two terminals, as somebody would try it: real processes, stores and sockets.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long something may take to show, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs in a terminal.
struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Terminal {
    fn open(program: &str, arguments: &[&str]) -> Terminal {
        let mut command = Command::new(program);
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (keys, out) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        // It ends with the output of the program.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Terminal { child, keys, lines }
    }

    fn enter(&mut self, line: &str) {
        writeln!(self.keys.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for a line with this text.
    fn shows(&self, text: &str) -> String {
        let (deadline, mut seen) = (Instant::now() + PATIENCE, Vec::new());
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("{text:?} does not show; since it was looked at last, there was: {seen:#?}");
    }

    /// The ticket with which others join.
    fn ticket(&self) -> String {
        self.shows("others join with: ").split_once(": ").unwrap().1.to_owned()
    }

    /// Ctrl-D, and the end of the program. Returns what has shown since.
    fn end(mut self) -> Vec<String> {
        drop(self.keys.take());
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the program does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(self.child.wait().unwrap().success());
        self.lines.iter().collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with two stores.
struct Stores(tempfile::TempDir);

impl Stores {
    fn new() -> Stores {
        Stores(tempfile::tempdir().unwrap())
    }

    fn url(&self, name: &str) -> String {
        format!("sqlite:{}", self.0.path().join(name).display())
    }
}

#[test]
fn a_list_is_shared_and_kept() {
    let (program, stores) = (env!("CARGO_BIN_EXE_todo"), Stores::new());
    let mut anna = Terminal::open(program, &[&stores.url("anna.db")]);
    let ticket = anna.ticket();
    anna.shows("nothing to do");
    anna.enter("milk");
    anna.shows("1. [ ] milk");
    let mut ben = Terminal::open(program, &[&stores.url("ben.db"), &ticket]);
    ben.shows("1. [ ] milk");
    ben.enter("bread\u{1b}[2J");
    // What somebody else writes does not command this terminal.
    anna.shows("2. [ ] bread\u{fffd}[2J");
    anna.enter("1");
    ben.shows("1. [x] milk");
    // What is written while the other is away comes later.
    ben.end();
    anna.enter("butter");
    anna.shows("3. [ ] butter");
    let ben = Terminal::open(program, &[&stores.url("ben.db")]);
    ben.shows("3. [ ] butter");
    anna.end();
    let anna = Terminal::open(program, &[&stores.url("anna.db")]);
    anna.shows("1. [x] milk");
}

#[test]
fn a_live_query_shows_what_others_change_and_only_that() {
    let (program, stores) = (env!("CARGO_BIN_EXE_stock"), Stores::new());
    let mut shop = Terminal::open(program, &[&stores.url("shop.db")]);
    let ticket = shop.ticket();
    shop.shows("runs low:");
    shop.enter("put apples fruit 9");
    shop.enter("put pears fruit 8");
    let mut cellar = Terminal::open(program, &[&stores.url("cellar.db"), &ticket]);
    cellar.shows("runs low:");
    cellar.enter("count apples 2");
    shop.shows("apples: 2 on shelf fruit");
    shop.enter("count apples many");
    shop.enter("move apples window");
    cellar.shows("apples: 2 on shelf window");
    // This changes nothing of what runs low, and so shows nothing; the shelf is looked at last.
    cellar.enter("count pears 7");
    cellar.enter("shelf fruit");
    cellar.shows("shelf fruit:");
    cellar.shows("pears: 7 on shelf fruit");
    let rest = cellar.end();
    assert!(!rest.iter().any(|line| line.contains("runs low")), "{rest:?}");
}

#[test]
fn the_latest_vote_of_each_voter_counts() {
    let (program, stores) = (env!("CARGO_BIN_EXE_poll"), Stores::new());
    let mut anna = Terminal::open(program, &[&stores.url("anna.db")]);
    let mut ben = Terminal::open(program, &[&stores.url("ben.db"), &anna.ticket()]);
    anna.enter("dance");
    ben.shows("1 for dance");
    ben.enter("dance");
    anna.shows("2 for dance");
    anna.enter("chess");
    ben.shows("1 for chess");
    ben.shows("1 for dance");
    let rest = anna.end();
    assert!(!rest.iter().any(|line| line.contains("2 for")), "{rest:?}");
}

#[test]
fn what_is_missing_is_said() {
    let nothing = Command::new(env!("CARGO_BIN_EXE_todo")).output().unwrap();
    assert!(!nothing.status.success());
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("which store?"));
}
