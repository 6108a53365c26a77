//! What pages show of the command is what it does: the README, the book, and a walk of our own that holds whatever those say.
//!
//! Each block of the language `console` is run from top to bottom, in a directory of its page. A line that begins with `$ ` is run by bash; the
//! lines below it are all that it prints, but for `…`, which stands for anything in a line, or, alone in one, for any lines. Spaces between words
//! count as one. A command that ends in `&` goes on until the end of the page, and what stands below it is what it says first. Every command has
//! to succeed.

mod matching;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use matching::begins_so;

use crate::kit::wait_for;

/// How long a command may take, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);
/// A page says addresses as people would type them; here each gets a port that is free.
const HOST: &str = "127.0.0.1:";

/// A command of a page, and what it shows.
#[derive(Debug, PartialEq)]
struct Step {
    line: usize,
    command: String,
    shows: Vec<String>,
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The commands in the console blocks of a page.
fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut within, mut goes_on) = (Vec::<Step>::new(), false, false);
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            (within, goes_on) = (!within && line.trim_end() == "```console", false);
            continue;
        }
        match (within, line.strip_prefix("$ "), steps.last_mut()) {
            (true, Some(command), _) if !goes_on => {
                steps.push(Step { line: number + 1, command: command.to_owned(), shows: Vec::new() });
            }
            (true, _, Some(step)) if goes_on => write!(step.command, "\n{line}").unwrap(),
            (true, _, Some(step)) => step.shows.push(line.to_owned()),
            (true, ..) => panic!("line {} stands before any command", number + 1),
            (false, ..) => continue,
        }
        goes_on = steps.last().is_some_and(|step| step.shows.is_empty() && step.command.ends_with('\\'));
    }
    steps
}

/// Puts free ports in the place of those that a page names.
fn with_free_ports(page: &str) -> String {
    let mut ports = BTreeMap::<&str, String>::new();
    let mut parts = page.split(HOST);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (named, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len()));
        let free = ports.entry(named).or_insert_with(|| {
            let listener = TcpListener::bind((HOST.trim_end_matches(':'), 0)).unwrap();
            listener.local_addr().unwrap().port().to_string()
        });
        write!(out, "{HOST}{free}{rest}").unwrap();
    }
    out
}

/// Where the commands of a page run.
struct Walk {
    place: tempfile::TempDir,
    servers: Vec<Child>,
}

impl Walk {
    fn new() -> Walk {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("examples/data")).unwrap();
        std::fs::create_dir(place.path().join("home")).unwrap();
        std::fs::copy(crate::kit::airports(), place.path().join("examples/data/airports.csv")).unwrap();
        Walk { place, servers: Vec::new() }
    }

    fn bash(&self, script: &str) -> Child {
        let command = Path::new(env!("CARGO_BIN_EXE_eidetica")).parent().unwrap();
        let path = format!("{}:{}", command.display(), std::env::var("PATH").unwrap_or_default());
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("exec 2>&1\n{script}")]).current_dir(self.place.path()).env("PATH", path);
        bash.env("HOME", self.place.path().join("home")).env("EIDETICA_STORE", "sqlite:store.db");
        // Nobody outside is asked for anything.
        bash.env("EIDETICA_RELAYS", "disabled").env_remove("EIDETICA_PASSWORD_FILE").env_remove("XDG_DATA_HOME");
        bash.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a command. Says what is wrong if it shows something else than the page.
    fn take(&mut self, step: &Step) -> Result<(), String> {
        if let Some(server) = step.command.strip_suffix(" &") {
            return self.start(server, &step.shows);
        }
        let ended = wait_for(self.bash(&step.command), PATIENCE);
        let found: Vec<String> = ended.out.lines().map(str::to_owned).collect();
        match ended.code {
            Some(0) if matching::is_so(&step.shows, &found) => Ok(()),
            Some(0) => Err(ended.out),
            code => Err(format!("{}(it has failed, with exit code {code:?})", ended.out)),
        }
    }

    fn start(&mut self, command: &str, shows: &[String]) -> Result<(), String> {
        let mut server = self.bash(&format!("exec {command}"));
        let (said, out) = (Arc::new(Mutex::new(Vec::new())), server.stdout.take().unwrap());
        self.servers.push(server);
        let heard = said.clone();
        // It ends with the server.
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).for_each(|line| heard.lock().unwrap().push(line));
        });
        let deadline = Instant::now() + PATIENCE;
        while !begins_so(shows, &said.lock().unwrap()) {
            if Instant::now() > deadline {
                return Err(said.lock().unwrap().join("\n"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Walks a page to its end; returns how many commands it has.
fn walk(page: &Path) -> Result<usize, String> {
    let text = with_free_ports(&std::fs::read_to_string(page).unwrap());
    let (mut walk, steps) = (Walk::new(), steps(&text));
    for step in &steps {
        walk.take(step).map_err(|found| {
            let Step { line, command, shows } = step;
            format!("{}:{line}: `{command}` shows\n{found}\nand not\n{}", page.display(), shows.join("\n"))
        })?;
    }
    Ok(steps.len())
}

/// All pages that may show commands.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![top().join("README.md"), top().join("eidetica-cli/tests/walks/walk.md")];
    let book = std::fs::read_dir(top().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(book.filter(|page| page.extension().is_some_and(|ending| ending == "md")));
    pages
}

#[test]
fn every_page_shows_what_the_command_does() {
    let pages = pages();
    let walked: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = pages.iter().map(|page| scope.spawn(move || walk(page))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let wrong: Vec<&str> = walked.iter().filter_map(|one| one.as_ref().err().map(String::as_str)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let counts: Vec<usize> = walked.into_iter().map(Result::unwrap).collect();
    assert!(counts[0] > 20 && counts[1] > 10, "the README and the walk show commands: {counts:?}");
    assert!(counts.iter().filter(|count| **count > 0).count() >= 4, "so do pages of the book: {counts:?}");
}

#[test]
fn a_page_is_read_as_it_is_meant() {
    let page = "```sh\n$ not this\n```\n```console\n$ one \\\n    two\nshown\n\nmore\n$ three\n```\n$ nor this\n";
    let step = |line, command: &str, shows: &[&str]| Step {
        line,
        command: command.to_owned(),
        shows: shows.iter().map(|line| (*line).to_owned()).collect(),
    };
    assert_eq!(steps(page), [step(5, "one \\\n    two", &["shown", "", "more"]), step(10, "three", &[])]);
    let ports = with_free_ports("a 127.0.0.1:8421, b 127.0.0.1:8422, a 127.0.0.1:8421");
    let (a, b) = (ports.split(", ").next().unwrap(), ports.split(", ").nth(1).unwrap());
    assert!(ports.ends_with(&a[2..]) && a[2..] != b[2..] && !ports.contains(":8421"), "{ports}");
}

#[test]
fn a_page_that_shows_something_else_is_found_out() {
    for (command, shows) in [
        ("eidetica list", "database"),
        ("echo one; echo two", "one"),
        ("echo one", "one\ntwo"),
        ("echo one; false", "one"),
        ("echo one", ""),
    ] {
        let step = Step { line: 1, command: command.to_owned(), shows: shows.lines().map(str::to_owned).collect() };
        assert!(Walk::new().take(&step).is_err(), "{command}");
    }
    let step = Step { line: 1, command: "echo one; echo two".to_owned(), shows: vec!["one".into(), "…".into()] };
    Walk::new().take(&step).unwrap();
}
