//! The `eidetica` command: tables in a local-first database, from the shell.

mod arguments;
mod commands;
mod condition;
#[cfg(unix)]
mod demo;
mod failure;
mod import;
mod interrupt;
mod json;
mod key;
mod lock;
mod moving;
mod names;
mod node;
mod opening;
mod output;
mod password;
mod session;
mod snapshot;
mod store_url;
mod text;
mod typed;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use arguments::Arguments;
use failure::Failure;
use interrupt::Interrupt;
use output::Output;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::usage(&error),
    };
    let json = arguments.json;
    listen(arguments.verbose, json);
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(json),
    }
}

/// Writes what happens inside to standard error.
fn listen(verbose: u8, json: bool) {
    let (ours, others) = match verbose {
        // Whoever reads errors as JSON gets nothing else. What other crates complain of, such as a network that is down, is said
        // by the error that comes of it.
        0 if json => (LevelFilter::ERROR, LevelFilter::OFF),
        0 => (LevelFilter::WARN, LevelFilter::OFF),
        1 => (LevelFilter::INFO, LevelFilter::WARN),
        _ => (LevelFilter::DEBUG, LevelFilter::DEBUG),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time();
    let wanted = Targets::new().with_default(others).with_target("eidetica", ours);
    tracing_subscriber::registry().with(lines.with_filter(wanted)).init();
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::starting)?;
    let result = runtime.block_on(async {
        let interrupt = Interrupt::listen()?;
        let mut output = Output::new(arguments.json);
        let code = commands::run(arguments, &mut output, &interrupt).await?;
        output.flush()?;
        Ok(code)
    });
    // A thread that still reads a file must not keep the command from ending.
    runtime.shutdown_background();
    result
}
