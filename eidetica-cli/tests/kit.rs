//! A store of its own for each test, and the command run on it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// No command here may take longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// The table that all tests use.
pub fn airports() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/airports.csv")
}

/// A directory with a store in it.
pub struct Place {
    directory: tempfile::TempDir,
    store: String,
}

/// How a command has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Place {
        Place::of("sqlite")
    }

    /// With a store of this scheme.
    pub fn of(scheme: &str) -> Place {
        let directory = tempfile::tempdir().unwrap();
        let store = format!("{scheme}:{}", directory.path().join("store.db").display());
        Place { directory, store }
    }

    /// With the airports imported as the table `airports` of `travel`.
    pub fn with_airports() -> Place {
        Place::new().and_airports()
    }

    pub fn and_airports(self) -> Place {
        self.import(&airports()).ok();
        self
    }

    /// The same directory, and another store in it.
    pub fn on(mut self, file: &str) -> Place {
        self.store = format!("sqlite:{}", self.path(file).display());
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eidetica"));
        command
            .args(arguments)
            .env("EIDETICA_STORE", &self.store)
            .env_remove("EIDETICA_PASSWORD_FILE")
            // Nobody outside is asked for anything.
            .env("EIDETICA_RELAYS", "disabled")
            .stdin(Stdio::null());
        command
    }

    /// The same, by a process that may have so many files open.
    pub fn command_with_files(&self, files: usize, arguments: &[&str]) -> Command {
        let command = self.command(arguments);
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]).arg(command.get_program());
        limited.args(command.get_args()).env("EIDETICA_STORE", &self.store).env_remove("EIDETICA_PASSWORD_FILE");
        limited.stdin(Stdio::null());
        limited
    }

    /// The store, as programs open it.
    pub fn store(&self) -> &str {
        &self.store
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        wait(self.start(arguments))
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Imports a file as airports.
    pub fn import(&self, file: &Path) -> Ended {
        self.run(&import_of(file))
    }

    /// The lines of a command that succeeds.
    pub fn lines(&self, arguments: &[&str]) -> Vec<String> {
        self.run(arguments).ok().out.lines().map(str::to_owned).collect()
    }

    /// The JSON lines of a command that succeeds.
    pub fn json(&self, arguments: &[&str]) -> Vec<Json> {
        let arguments = [&["--json"], arguments].concat();
        self.lines(&arguments).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The error of a command that fails, as JSON, and its exit code.
    pub fn error(&self, arguments: &[&str]) -> (i32, Json) {
        let ended = self.run(&[&["--json"], arguments].concat());
        assert_eq!(ended.out, "", "{ended:?}");
        let error: Json = serde_json::from_str(&ended.err).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        (ended.code.unwrap(), error["error"].clone())
    }
}

pub fn import_of(file: &Path) -> [&str; 8] {
    ["import", file.to_str().unwrap(), "--database", "travel", "--table", "airports", "--key", "iata"]
}

impl Ended {
    /// Insists on success.
    pub fn ok(self) -> Ended {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// Waits for the end, but not for ever.
pub fn wait(child: Child) -> Ended {
    wait_for(child, PATIENCE)
}

/// Waits so long for the end.
pub fn wait_for(mut child: Child, patience: Duration) -> Ended {
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("the command does not end: {}{}", out.join().unwrap(), err.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Ended { code: status.code(), out: out.join().unwrap(), err: err.join().unwrap() }
}

/// Reads a pipe to its end, aside, so that a full one does not stop the command.
fn drain(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_string(&mut text).unwrap();
        }
        text
    })
}

/// Asks again and again until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
