//! The command: certifies what is linked into it by URL, repeats cases, and shows that the suite has teeth.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use eidetica_backend_redb as _;
use eidetica_backend_sqlite as _;
use eidetica_conformance::{Budget, Report, Suite, cases, mutants, process, run};
use eidetica_contract::Error;
use eidetica_transport_http as _;
use eidetica_transport_iroh as _;

/// Certifies backends and transports of Eidetica.
///
/// Exit codes: 0 certified; 1 failures; 2 the suite could not begin; 3 not everything planned has run; 4 certified but for what is
/// known to fail.
#[derive(Debug, Parser)]
#[command(name = "eidetica-conformance", version)]
struct Arguments {
    /// The seed of the run. Default: that of `EIDETICA_SEED`, else a new one, which the report names.
    #[arg(long, global = true)]
    seed: Option<u64>,

    /// Do more than the quick level, which takes about a minute for a subject.
    #[arg(long, global = true)]
    full: bool,

    /// Repeat the quick level with new seeds for so many seconds, which the cases share.
    #[arg(long, global = true, value_name = "SECONDS", conflicts_with = "full")]
    soak: Option<u64>,

    /// Cases that are known to fail, in a file.
    #[arg(long, global = true, value_name = "FILE")]
    known_failures: Option<PathBuf>,

    /// Where to write the report, too: by its ending as JSON (`.json`), a badge (`.badge.json`), JUnit (`.xml`) or a table (`.md`).
    #[arg(long, global = true, value_name = "FILE")]
    report: Vec<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Certify backends by URL; `{tmp}` stands for a new directory.
    Backend {
        #[arg(required = true)]
        urls: Vec<String>,
    },
    /// Certify transports by scheme and address to bind, such as `http:127.0.0.1:0`.
    Transport {
        #[arg(required = true)]
        urls: Vec<String>,
    },
    /// Certify whole nodes on every pair of these backends and transports, and on all of them mixed.
    Matrix {
        #[arg(long, required = true, num_args = 1.., value_name = "URL")]
        backends: Vec<String>,
        #[arg(long, required = true, num_args = 1.., value_name = "URL")]
        transports: Vec<String>,
    },
    /// List the cases.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run a case once more, with the seed that the report has named.
    Replay {
        case: String,
        /// Backend or transport, as in the report.
        #[arg(long)]
        subject: String,
    },
    /// Run the cases on implementations with one defect each, and show what caught them.
    Teeth {
        /// All cases of its area on each, not only those that must catch it.
        #[arg(long)]
        all: bool,
    },
}

fn main() -> ExitCode {
    process::serve();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return broken(&error),
    };
    let done = runtime.block_on(work(&arguments));
    // A subject that never answers must not keep the command from ending.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(error) => broken(&error),
    }
}

fn broken(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(2)
}

async fn work(arguments: &Arguments) -> Result<ExitCode, Error> {
    let mut suite = Suite::new();
    if let Some(seed) = arguments.seed {
        suite = suite.seed(seed);
    }
    if arguments.full {
        suite = suite.budget(Budget::Full);
    }
    if let Some(seconds) = arguments.soak {
        suite = suite.budget(Budget::Soak(Duration::from_secs(seconds)));
    }
    if let Some(path) = &arguments.known_failures {
        suite = suite.known_failures(path);
    }
    match &arguments.command {
        Command::Backend { urls } => suite = urls.iter().fold(suite, Suite::backend),
        Command::Transport { urls } => suite = urls.iter().fold(suite, Suite::transport),
        Command::Matrix { backends, transports } => suite = matrix(suite, backends, transports),
        Command::Replay { case, subject } => {
            suite = match subject.split_once(" over ") {
                Some((backends, transports)) => {
                    let split = |text: &str| text.split(" + ").map(str::to_owned).collect::<Vec<_>>();
                    matrix(suite, &split(backends), &split(transports)).subject(subject)
                }
                None if case.starts_with("backend.") => suite.backend(subject),
                None => suite.transport(subject),
            };
            suite = suite.only(case);
        }
        Command::List { json } => return Ok(list(*json)),
        Command::Teeth { all } => return teeth(*all).await,
    }
    show(&run(suite).await?, &arguments.report)
}

fn matrix(suite: Suite, backends: &[String], transports: &[String]) -> Suite {
    suite.network(backends.iter().map(String::as_str), transports.iter().map(String::as_str))
}

fn list(json: bool) -> ExitCode {
    for case in cases() {
        match json {
            true => println!(
                "{}",
                serde_json::json!({
                    "case": case.id, "level": case.level, "area": case.area(), "needs": case.needs,
                    "unless": case.unless, "sentence": case.sentence, "witnesses": case.witnesses,
                })
            ),
            false => println!("{}\n    {}", case.id, case.sentence),
        }
    }
    ExitCode::SUCCESS
}

fn show(report: &Report, files: &[PathBuf]) -> Result<ExitCode, Error> {
    for one in &report.executed {
        println!("{:<6} ms  {}  {}: {}", one.took.as_millis(), one.subject.name, one.case, one.outcome);
        if !one.outcome.is_good() {
            println!("           {}", one.replay().replace('\n', "\n           "));
        }
    }
    println!("\n{}", report.markdown());
    for problem in report.problems() {
        println!("{problem}");
    }
    let verdict = if report.certifies() { "certified" } else { "not certified" };
    println!(
        "{verdict}: {} of {} cases have run, with the seed {}",
        report.executed.len(),
        report.planned,
        report.seed
    );
    for file in files {
        report.write(file)?;
    }
    Ok(report.exit_code())
}

async fn teeth(all: bool) -> Result<ExitCode, Error> {
    let mut good = true;
    for suite in mutants::references() {
        let sound = run(suite).await?;
        for problem in sound.problems() {
            println!("without a defect: {problem}");
        }
        good &= sound.certifies();
    }
    for kill in mutants::kills(all).await? {
        let caught: Vec<&str> = kill.caught.iter().copied().collect();
        println!("{:<32} {}", kill.defect, caught.join(", "));
        for escaped in kill.escaped() {
            println!("{:<32} ESCAPED {escaped}", "");
            good = false;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
