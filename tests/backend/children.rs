//! Real processes for tests: this binary once more, told to run one test that is otherwise ignored.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Names the store to a child.
const STORE: &str = "EIDETICA_TEST_STORE";

/// The command that runs the ignored test `name` (with its modules) on a store.
pub fn command(name: &str, store: &Path) -> Command {
    with_arguments(Command::new(own_binary()), name, store)
}

/// The same below another program, such as strace, whose own arguments are already there.
pub fn command_below(mut program: Command, name: &str, store: &Path) -> Command {
    program.arg(own_binary());
    with_arguments(program, name, store)
}

fn own_binary() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn with_arguments(mut command: Command, name: &str, store: &Path) -> Command {
    command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", name]).env(STORE, store);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// In a child: the store that it is to use. `None` if somebody just runs all ignored tests.
pub fn store() -> Option<PathBuf> {
    std::env::var_os(STORE).map(PathBuf::from)
}

/// Waits for a child, and sees to it that it has run its test and that the test has passed.
pub fn finish(child: Child) {
    check(&child.wait_with_output().unwrap());
}

pub fn check(output: &Output) {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "the child failed:\n{text}\n{errors}");
}
