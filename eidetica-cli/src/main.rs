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
mod output;
mod password;
mod session;
mod snapshot;
mod store_url;
mod text;
mod typed;

use std::process::ExitCode;

use clap::Parser;

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
    let level = match arguments.verbose {
        // Whoever reads errors as JSON gets nothing else.
        0 if json => "error",
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let level = level.parse().unwrap_or(tracing_subscriber::filter::LevelFilter::WARN);
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).without_time().init();
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(json),
    }
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
