//! Another process: this program once more, which opens a store and does as it is told, until it is killed.
//!
//! Some of what a backend promises shows only between processes: what is left when one is killed in the middle of its work, and what
//! another one sees or is refused. [`main_of`](crate::main_of), and so [`main!`](crate::main!), sees to it by itself. A test with a
//! `main` or a harness of its own says how it comes to [`serve`]:
//!
//! ```no_run
//! use eidetica_conformance::{Suite, process, run};
//!
//! #[test]
//! fn is_another_process_when_it_is_asked() {
//!     process::serve();
//! }
//!
//! #[tokio::test(flavor = "multi_thread")]
//! async fn certified() {
//!     process::reached_by(["--exact", "is_another_process_when_it_is_asked", "--nocapture"]);
//!     let report = run(Suite::new().backend("mine:{tmp}/store")).await.unwrap();
//!     assert!(report.certifies(), "{:#?}", report.problems());
//! }
//! ```
//!
//! A subject that is not opened by URL says in [`Place::elsewhere`](crate::Place::elsewhere) what the other process is told, and its
//! program calls [`serve_with`] with what opens that.

mod orders;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use eidetica_contract::{Backend, Registry, Result};
pub(crate) use orders::count_once;
use tokio::sync::mpsc;

/// Names the store to another process.
const STORE: &str = "EIDETICA_CONFORMANCE_STORE";

/// What an answer begins with: a harness writes to the same output.
const MARK: &str = "eidetica-conformance: ";

/// Nothing here takes as long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// With which arguments this program comes to [`serve`].
static ARGUMENTS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Declares that this program, started with these arguments, comes to [`serve`] or [`serve_with`]. What is declared first stays.
pub fn reached_by<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) {
    let _ = ARGUMENTS.set(arguments.into_iter().map(Into::into).collect());
}

/// Is the other process, if this is one, and does not return then. Otherwise it declares that this program is one without any arguments,
/// unless [`reached_by`] has said something else, and returns at once. Stores are opened by URL.
pub fn serve() {
    serve_with(async |store: String| {
        #[cfg(feature = "teeth")]
        if let Some(mutant) = crate::mutants::open_elsewhere(&store).await {
            return mutant;
        }
        Registry::linked()?.open_backend(&store).await
    });
}

/// The same, with stores that are opened so. What is given to `open` is what [`Place::elsewhere`](crate::Place::elsewhere) has answered.
pub fn serve_with(open: impl AsyncFnOnce(String) -> Result<Box<dyn Backend>>) {
    match std::env::var(STORE) {
        Ok(store) => orders::obey(open, store),
        Err(_) => reached_by(None::<OsString>),
    }
}

pub(crate) fn can_be_started() -> bool {
    ARGUMENTS.get().is_some()
}

/// Another process. Dropping it kills it.
pub(crate) struct Other {
    child: Child,
    orders: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Other {
    /// Starts one that opens this store, and waits for its first answer: `open`, or `error` and the kind.
    pub(crate) async fn start(store: &str) -> (Other, String) {
        let program = std::env::current_exe().expect("the path of this program");
        let mut command = Command::new(program);
        command.args(ARGUMENTS.get().expect("this program can be another process")).env(STORE, store);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("another process starts");
        let orders = child.stdin.take().expect("its input");
        let output = child.stdout.take().expect("its output");
        let (tell, answers) = mpsc::channel(64);
        // Ends with the output, or when nobody wants to know any more.
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output);
            let mut line = Vec::new();
            // What does not end as a line does was cut off with the process.
            while lines.read_until(b'\n', &mut line).is_ok() && line.ends_with(b"\n") {
                let text = String::from_utf8_lossy(&line);
                if let Some((_, answer)) = text.trim_end().split_once(MARK)
                    && tell.blocking_send(answer.to_owned()).is_err()
                {
                    break;
                }
                line.clear();
            }
        });
        let mut other = Other { child, orders, answers };
        let first = other.answer().await;
        (other, first)
    }

    /// Starts one that opens this store, which it can.
    pub(crate) async fn open(store: &str) -> Other {
        let (other, answer) = Other::start(store).await;
        assert_eq!(answer, "open", "another process cannot open the store");
        other
    }

    /// Tells it what to do, and waits for the answer.
    pub(crate) async fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.answer().await
    }

    pub(crate) fn tell(&mut self, order: &str) {
        let told = self.orders.write_all(format!("{order}\n").as_bytes()).and_then(|()| self.orders.flush());
        told.expect("the other process listens");
    }

    pub(crate) async fn answer(&mut self) -> String {
        let answer = tokio::time::timeout(PATIENCE, self.answers.recv()).await;
        answer.expect("the other process answers in time").expect("the other process has ended")
    }

    /// Kills it, at whatever it is, and says what it had still answered.
    pub(crate) async fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("it is killed");
        let mut rest = Vec::new();
        while let Some(answer) = self.answers.recv().await {
            rest.push(answer);
        }
        self.child.wait().expect("it has ended");
        rest
    }
}

/// Processes that are started all the time, one after the other, until this is dropped. They do nothing.
pub(crate) struct Starts {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    started: AtomicU32,
    ended: AtomicBool,
}

impl Starts {
    pub(crate) fn begin() -> Starts {
        let program = std::env::current_exe().expect("the path of this program");
        let state = Arc::new(State::default());
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            while !shared.ended.load(Relaxed) {
                let mut command = Command::new(&program);
                command.args(ARGUMENTS.get().expect("this program can be another process")).env(STORE, "");
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let mut child = command.spawn().expect("another process starts");
                // It runs its own program now, and has nothing of this one any more.
                child.kill().and_then(|()| child.wait()).expect("it is ended");
                shared.started.fetch_add(1, Relaxed);
            }
        });
        Starts { state, thread: Some(thread) }
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u32 {
        let running = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        assert!(running, "no process can be started any more");
        self.state.started.load(Relaxed)
    }
}

impl Drop for Starts {
    fn drop(&mut self) {
        self.state.ended.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // One that has been killed already says so, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
