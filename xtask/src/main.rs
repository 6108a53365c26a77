//! The long proofs, run by hand before a larger change is called done.
//!
//! `cargo xtask list` names the steps, `cargo xtask full` runs all of them, `cargo xtask NAME…` some.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

struct Step {
    name: &'static str,
    about: &'static str,
    /// The arguments of cargo.
    cargo: &'static str,
    variables: &'static [(&'static str, &'static str)],
    /// True if it runs tests: then at least one must have run, or a name has changed and nothing was proven.
    tests: bool,
}

const STEPS: [Step; 10] = [
    Step {
        name: "properties",
        about: "random histories against the oracle, 100,000 for each property",
        cargo: "test --release --package eidetica --test main -- oracle:: --nocapture",
        variables: &[("EIDETICA_CASES", "100000")],
        tests: true,
    },
    Step {
        name: "crashes",
        about: "processes that are killed while they write, a thousand times",
        cargo: "test --release --package eidetica --test main -- local::kill --nocapture",
        variables: &[("EIDETICA_CRASHES", "1000")],
        tests: true,
    },
    Step {
        name: "memory",
        about: "the resident memory of a process that opens and reads a long history",
        cargo: "test --release --package eidetica --test main -- local::growth::memory --nocapture",
        variables: &[("EIDETICA_GROWTH", "1000000")],
        tests: true,
    },
    Step {
        name: "certify",
        about: "the contracts of backends and transports on all of ours, at the full level; README.md notes the run",
        cargo: "test --release --workspace --exclude eidetica-examples --test certified --test teeth",
        variables: &[("EIDETICA_BUDGET", "full"), ("EIDETICA_REPORT", "../target/certified")],
        tests: true,
    },
    Step {
        name: "worlds",
        about: "whole nodes on simulated networks with faults and crashes, in 100,000 worlds",
        cargo: "test --release --package eidetica-sync --test main -- scenes::random --nocapture",
        variables: &[("EIDETICA_CASES", "50")],
        tests: true,
    },
    Step {
        name: "soak",
        about: "eight peers over mixed backends, written to, cut off, restarted and killed for ten minutes; their memory, too",
        cargo: "test --release --package eidetica --test main -- sync::soak --nocapture",
        variables: &[("EIDETICA_SOAK", "600")],
        tests: true,
    },
    Step {
        name: "relays",
        about: "two peers over iroh between which nothing but a relay lies, and a relay that goes away and comes back",
        cargo: "test --manifest-path relays/Cargo.toml",
        variables: &[],
        tests: true,
    },
    Step {
        name: "release",
        about: "everything, built as it is shipped",
        cargo: "build --release --workspace",
        variables: &[],
        tests: false,
    },
    Step {
        name: "benches",
        about: "what work costs, beside what limits it",
        cargo: "run --release --package eidetica-benches --bin table",
        variables: &[],
        tests: false,
    },
    Step {
        name: "sync",
        about: "what sync over HTTP costs: bytes, round trips and times",
        cargo: "run --release --package eidetica-benches --bin sync",
        variables: &[],
        tests: false,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &str| STEPS.iter().find(|step| step.name == name);
    let chosen: Vec<&Step> = match &arguments[..] {
        [one] if one == "full" => STEPS.iter().collect(),
        [one] if one == "list" => {
            STEPS.iter().for_each(|step| println!("{:12} {}", step.name, step.about));
            return ExitCode::SUCCESS;
        }
        [] => Vec::new(),
        names => names.iter().filter_map(|name| named(name)).collect(),
    };
    if chosen.is_empty() || (chosen.len() != arguments.len() && arguments != ["full"]) {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        eprintln!("usage: cargo xtask list | full | NAME…\nwith NAME one of: {}", names.join(", "));
        return ExitCode::from(2);
    }
    let mut failed = 0;
    let mut summary = Vec::new();
    for step in chosen {
        println!("==> {}: {}", step.name, step.about);
        let began = Instant::now();
        let outcome = match step.name {
            "certify" => certify(step),
            _ => run(step, &[]),
        };
        let time = seconds(began.elapsed());
        let line = match &outcome {
            Ok(done) => format!("{:12} {time:>9}  {done}", step.name),
            Err(reason) => format!("{:12} {time:>9}  FAILED: {reason}", step.name),
        };
        println!("{line}");
        failed += usize::from(outcome.is_err());
        summary.push(line);
    }
    println!("\n{}", summary.join("\n"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Runs a step, shows what it prints, and says what was done.
fn run(step: &Step, more: &[(&str, &str)]) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(step.cargo.split(' '))
        .envs(step.variables.iter().chain(more).copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cargo cannot be started: {error}"))?;
    let output = child.stdout.take().ok_or("the output of cargo is not there")?;
    let mut passed = 0;
    for line in BufReader::new(output).lines() {
        let line = line.map_err(|error| format!("the output of cargo cannot be read: {error}"))?;
        println!("{line}");
        passed += passed_in(&line);
    }
    let status = child.wait().map_err(|error| format!("cargo is lost: {error}"))?;
    match (status.success(), step.tests, passed) {
        (false, ..) => Err(format!("{status}; the step was: cargo {}", step.cargo)),
        (true, true, 0) => Err("no test has such a name, so nothing was proven".into()),
        (true, true, passed) => Ok(format!("{passed} tests passed")),
        (true, false, _) => Ok("done".into()),
    }
}

/// The number in a line such as `test result: ok. 6 passed; 0 failed; …`.
fn passed_in(line: &str) -> u64 {
    let passed = line.strip_prefix("test result: ok. ").and_then(|rest| rest.split_once(" passed"));
    passed.and_then(|(number, _)| number.parse().ok()).unwrap_or(0)
}

/// How the line of the README begins that says what the full level has certified.
const CERTIFIED: &str = "The full level certified all of this at commit `";

/// Certifies at the full level, all crates from one seed. `EIDETICA_SEED` repeats a run.
fn certify(step: &Step) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let reports = root.join("target/certified");
    // What an earlier run has left is no report of this one.
    let emptied = if reports.exists() { std::fs::remove_dir_all(&reports) } else { Ok(()) };
    emptied.and_then(|()| std::fs::create_dir_all(&reports)).map_err(|error| format!("target/certified: {error}"))?;
    let now = std::time::UNIX_EPOCH.elapsed().map_err(|_| "the clock of this machine is before 1970")?;
    let seed = std::env::var("EIDETICA_SEED").unwrap_or_else(|_| now.as_secs().to_string());
    println!("EIDETICA_SEED={seed}");
    let done = run(step, &[("EIDETICA_SEED", &seed)])?;
    Ok(format!("{done}; {}", note_certified(&root, &reports, &seed)?))
}

/// Writes commit and seed of such a run into the README, where the same commit can be had again.
fn note_certified(root: &Path, reports: &Path, seed: &str) -> Result<String, String> {
    let readable = |error| format!("the reports or README.md: {error}");
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root).output();
        let output = output.map_err(|error| format!("git cannot be started: {error}"))?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if !git(&["status", "--porcelain"])?.is_empty() {
        return Ok("not noted in README.md, since not everything is committed".into());
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let mut cases = 0;
    for report in std::fs::read_dir(reports).map_err(readable)? {
        let path = report.map_err(readable)?.path();
        let report = std::fs::read_to_string(&path).map_err(readable)?;
        let certified = certified(&report, seed);
        cases += certified.ok_or_else(|| format!("{} does not say that all is certified", path.display()))?;
    }
    let line = format!("{CERTIFIED}{commit}`, with the seed {seed}: {cases} cases.");
    let path = root.join("README.md");
    let readme = std::fs::read_to_string(&path).map_err(readable)?;
    let lines = readme.lines().map(|old| if old.starts_with(CERTIFIED) { line.as_str() } else { old });
    let noted: String = lines.flat_map(|line| [line, "\n"]).collect();
    if !noted.contains(&line) {
        return Err(format!("README.md has no line that begins with {CERTIFIED:?}"));
    }
    std::fs::write(&path, noted).map_err(readable)?;
    Ok(format!("README.md notes {commit}"))
}

/// How many cases a report in JSON says are certified with this seed.
fn certified(report: &str, seed: &str) -> Option<u64> {
    let after = |name: &str| report.split_once(&format!("\n  \"{name}\": "))?.1.split([',', '\n']).next();
    let all = after("certified")? == "true" && after("seed")? == seed;
    after("planned")?.parse().ok().filter(|_| all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_certified_is_noted() {
        let report = "{\n  \"certified\": true,\n  \"planned\": 12,\n  \"schema\": 1,\n  \"seed\": 7,\n}\n";
        assert_eq!(certified(report, "7"), Some(12));
        assert_eq!(certified(report, "8"), None);
        assert_eq!(certified(&report.replace("true", "false"), "7"), None);
        assert_eq!(certified("", "7"), None);
    }

    #[test]
    fn the_number_of_tests_is_found() {
        assert_eq!(passed_in("test result: ok. 6 passed; 0 failed; 0 ignored"), 6);
        assert_eq!(passed_in("test result: FAILED. 6 passed; 1 failed"), 0);
        assert_eq!(passed_in("running 6 tests"), 0);
    }

    #[test]
    fn names_are_told_apart() {
        for (at, step) in STEPS.iter().enumerate() {
            assert!(!["list", "full"].contains(&step.name));
            assert!(STEPS[..at].iter().all(|other| other.name != step.name), "{}", step.name);
        }
    }
}
