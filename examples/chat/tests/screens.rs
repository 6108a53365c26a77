//! Terminals of tmux in which the chat runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Without tmux the tests fail, unless this is 1.
const WITHOUT: &str = "EIDETICA_NO_TMUX";
/// How long a screen may take to show what it should; most take much less than a second.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(40);

/// Whether there is tmux. Panics if there is not, and nobody has said to do without.
pub fn can_be_shown(what: &str) -> bool {
    match Command::new("tmux").arg("-V").output() {
        Ok(output) if output.status.success() => true,
        _ if std::env::var_os(WITHOUT).is_some_and(|value| value == "1") => {
            eprintln!("NOT TESTED, as {WITHOUT} says: {what}");
            false
        }
        other => panic!("tmux is needed (apt-get install tmux); set {WITHOUT}=1 to do without: {other:?}"),
    }
}

/// A tmux server of its own, which ends with it.
pub struct Screens {
    socket: String,
    /// Where screens are kept when something fails.
    kept: PathBuf,
}

/// One terminal.
pub struct Screen<'s> {
    screens: &'s Screens,
    name: &'static str,
    command: String,
    /// Where its exit code is written.
    ended: PathBuf,
}

impl Screens {
    pub fn open(story: &str) -> Screens {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let socket = format!("eidetica-chat-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chat-screens").join(story);
        let _ = std::fs::remove_dir_all(&kept);
        Screens { socket, kept }
    }

    /// Starts a chat in a terminal. The shell keeps its exit code: tmux does not always know that of a process.
    pub fn start(&self, name: &'static str, arguments: &[&str]) -> Screen<'_> {
        let words = [env!("CARGO_BIN_EXE_chat")].into_iter().chain(arguments.iter().copied());
        let quoted: Vec<String> = words.map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
        let ended = std::env::temp_dir().join(format!("{}-{name}", self.socket));
        let command = format!("{}; echo $? >'{}'", quoted.join(" "), ended.display());
        let screen = Screen { screens: self, name, command, ended };
        let new = ["new-session", "-d", "-s", name, "-x", "100", "-y", "44"];
        self.tmux(&[&new[..], &[&screen.command, ";", "set-option", "-t", name, "remain-on-exit", "on"]].concat());
        screen
    }

    fn try_tmux(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-L", &self.socket, "-f", "/dev/null"]).args(arguments);
        tmux.env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color").env_remove("TMUX").stdin(Stdio::null());
        tmux.output().expect("tmux runs")
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.try_tmux(arguments);
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a screen is UTF-8")
    }

    /// Fails, and keeps what all terminals show.
    fn fail(&self, what: &str) -> ! {
        let sessions = self.try_tmux(&["list-sessions", "-F", "#{session_name}"]);
        let mut all = String::new();
        std::fs::create_dir_all(&self.kept).expect("screens can be kept");
        for name in String::from_utf8_lossy(&sessions.stdout).lines() {
            let shown = self.try_tmux(&["capture-pane", "-p", "-t", name]);
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            std::fs::write(self.kept.join(format!("{name}.txt")), &shown).expect("screens can be kept");
            all += &format!("--- {name} ---\n{}\n", shown.trim_end());
        }
        panic!("{what}\n{all}(kept in {})", self.kept.display());
    }
}

impl Drop for Screens {
    fn drop(&mut self) {
        // A server without a session has ended already.
        let _ = self.try_tmux(&["kill-server"]);
    }
}

impl Screen<'_> {
    /// What it shows.
    pub fn text(&self) -> String {
        self.screens.tmux(&["capture-pane", "-p", "-t", self.name])
    }

    /// Waits until it shows something.
    pub fn until(&self, what: &str, shows: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let text = self.text();
            if shows(&text) {
                return text;
            }
            if began.elapsed() > PATIENCE {
                self.screens.fail(&format!("{} does not show within {PATIENCE:?}: {what}", self.name));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until it shows this text.
    pub fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    /// Waits until it shows this text no longer.
    pub fn shows_no_longer(&self, text: &str) {
        self.until(&format!("no `{text}`"), |screen| !screen.contains(text));
    }

    /// Types something.
    pub fn types(&self, text: &str) {
        self.screens.tmux(&["send-keys", "-t", self.name, "-l", "--", text]);
    }

    /// Presses a key, by the name that tmux has for it.
    pub fn presses(&self, key: &str) {
        self.screens.tmux(&["send-keys", "-t", self.name, key]);
    }

    /// Types something, and enters it.
    pub fn enters(&self, text: &str) {
        self.types(text);
        self.presses("Enter");
    }

    /// Pastes something, as a terminal does that marks where a paste begins and ends.
    pub fn pastes(&self, text: &str) {
        self.screens.tmux(&["set-buffer", "-b", self.name, "--", text]);
        self.screens.tmux(&["paste-buffer", "-p", "-b", self.name, "-t", self.name]);
    }

    pub fn has_size(&self, width: u16, height: u16) {
        self.screens.tmux(&["resize-window", "-t", self.name, "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// Kills the chat without a word.
    pub fn is_killed(&self) {
        let shell = self.screens.tmux(&["display-message", "-p", "-t", self.name, "#{pane_pid}"]);
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", shell.trim()]).output().expect("ps runs");
        let process = String::from_utf8(children.stdout).expect("numbers");
        let killed = Command::new("kill").args(["-KILL", process.trim()]).status().expect("kill runs");
        assert!(killed.success());
        assert_eq!(self.until_ended(), "137");
    }

    /// Starts the chat anew in the same terminal.
    pub fn starts_again(&self) {
        self.screens.tmux(&["respawn-pane", "-k", "-t", self.name, &self.command]);
    }

    /// Waits until the chat has ended, and gives its exit code; 128 and the number of a signal if it was killed.
    pub fn until_ended(&self) -> String {
        let began = Instant::now();
        loop {
            let code = std::fs::read_to_string(&self.ended).unwrap_or_default();
            if code.ends_with('\n') {
                std::fs::remove_file(&self.ended).expect("it was there");
                return code.trim().to_owned();
            }
            if began.elapsed() > PATIENCE {
                self.screens.fail(&format!("{} has not ended within {PATIENCE:?}", self.name));
            }
            std::thread::sleep(LOOK);
        }
    }
}
