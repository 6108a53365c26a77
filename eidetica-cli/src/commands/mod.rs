//! The commands, but for `import`.

mod about;
mod care;
mod copy;
pub(crate) mod history;
mod join;
mod keys;
mod linked;
mod peers;
mod requests;
mod rights;
mod row;
mod rows;
mod serve;
mod share;
mod status;
mod sync;
mod transfer;
mod user;

use std::process::ExitCode;
use std::time::Duration;

use eidetica::{Error, ErrorKind};

use crate::arguments::{Arguments, Command, Look, UserCommand};
use crate::failure::{Failure, PROBLEMS};
use crate::interrupt::Interrupt;
use crate::output::{Output, remark};
use crate::session::{Intent, Session};
use crate::{import, names, snapshot};

/// How long an interrupted command may take to close the store. What it has committed is kept in any case.
const CLOSING: Duration = Duration::from_secs(5);

/// Runs a command; the exit code is that of a command that has not failed.
pub async fn run(arguments: Arguments, output: &mut Output, interrupt: &Interrupt) -> Result<ExitCode, Failure> {
    let store = arguments.store.as_deref();
    if let Command::Import(import) = &arguments.command {
        import::run(store, &arguments.who, import, output, interrupt).await?;
        return Ok(ExitCode::SUCCESS);
    }
    match &arguments.command {
        Command::Demo(arguments) => {
            demo(arguments, output, interrupt).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Copy { from, to } => {
            copy::run(from, to, &arguments.who, output, interrupt).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Backends => return linked::backends(output).map(|()| ExitCode::SUCCESS),
        Command::Transports => return linked::transports(output).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    if let Command::Restore { file, .. } = &arguments.command {
        // What is wrong with the file shows before a store is touched.
        interrupt.guard(transfer::check(file)).await?;
    }
    let intent = match arguments.command {
        Command::Serve(_) => Intent::Serve,
        Command::Restore { .. } | Command::User(UserCommand::Add { .. }) | Command::Join(_) => Intent::Create,
        _ => Intent::Use,
    };
    let session = interrupt.guard(async { Ok(Session::open(store, &arguments.who, intent).await?) }).await?;
    let result = match &arguments.command {
        // It ends by being interrupted, and has something to say then.
        Command::Serve(serve) => {
            serve::run(&session, serve, &arguments.network, output, interrupt).await.map(|()| ExitCode::SUCCESS)
        }
        _ => interrupt.guard(on(&session, &arguments, output)).await,
    };
    if matches!(result, Err(Failure::Interrupted)) {
        let _ = tokio::time::timeout(CLOSING, session.instance.close()).await;
        remark(match arguments.command {
            Command::Reindex { .. } => "stopped; a rebuild that was begun goes on when the store is used next",
            _ => "stopped",
        });
    } else {
        let closed = session.instance.close().await;
        // The error of the command itself says more.
        if result.is_ok() {
            closed?;
        }
    }
    result
}

#[cfg(unix)]
async fn demo(arguments: &crate::arguments::Demo, output: &mut Output, interrupt: &Interrupt) -> Result<(), Failure> {
    crate::demo::run(arguments, output, interrupt).await
}

#[cfg(not(unix))]
async fn demo(_: &crate::arguments::Demo, _: &mut Output, _: &Interrupt) -> Result<(), Failure> {
    Err(Error::new(ErrorKind::Unsupported, "the demo runs on Unix-like systems; start two nodes by hand instead")
        .into())
}

async fn on(session: &Session, arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    match &arguments.command {
        Command::Import(_)
        | Command::Serve(_)
        | Command::Demo(_)
        | Command::Copy { .. }
        | Command::Backends
        | Command::Transports => {
            return Err(Error::new(ErrorKind::Internal, "this command runs on its own").into());
        }
        Command::Share(share) => share::run(session, share, output).await?,
        Command::Invitations { revoke } => share::invitations(session, revoke.as_deref(), output).await?,
        Command::Join(join) => join::run(session, join, &arguments.network, output).await?,
        Command::Requests { all } => requests::list(session, *all, output).await?,
        Command::Approve { request, permission } => requests::approve(session, request, *permission, output).await?,
        Command::Reject { request, reason } => requests::reject(session, request, reason, output).await?,
        Command::Sync { address, database } => {
            sync::run(session, address.as_deref(), database.as_deref(), &arguments.network, output).await?;
        }
        Command::Peers { command } => peers::run(session, command.as_ref(), output).await?,
        Command::Status { follow } => status::run(session, *follow, output).await?,
        Command::Get(get) => {
            let database = database(session, &get.database).await?;
            row::get(&database.now(), &get.row, output).await?;
        }
        Command::Set(set) => row::set(session, set, output).await?,
        Command::Rows(rows) => {
            let database = database(session, &rows.database).await?;
            rows::show(&database, None, &rows.rows, output).await?;
        }
        Command::Delete { database, table, keys } => row::delete(session, database, table, keys, output).await?,
        Command::Index(index) => care::index(session, index, output).await?,
        Command::Log { database: name, limit, void } => {
            history::log(&database(session, name).await?, *limit, *void, output).await?;
        }
        Command::Keys { database: name, at } => keys::list(session, name, at.as_deref(), output).await?,
        Command::Grant(change) => rights::grant(session, change, output).await?,
        Command::Limit(change) => rights::limit(session, change, output).await?,
        Command::Remove { database: name, key, as_of, look } => {
            rights::remove(session, name, key, as_of.as_deref(), *look, output).await?;
        }
        Command::Rotate(rotate) => rights::rotate(session, rotate, output).await?,
        Command::At { database: name, snapshot, look } => {
            let database = database(session, name).await?;
            let snapshot = snapshot::parse(&database, snapshot).await?;
            match look {
                Look::Rows(rows) => rows::show(&database, Some(snapshot), rows, output).await?,
                Look::Get(get) => row::get(&database.at(&snapshot).await?, get, output).await?,
            }
        }
        Command::Export { database: name, file } => {
            transfer::export(&database(session, name).await?, file, output).await?;
        }
        Command::Restore { file, name } => transfer::restore(session, file, name.as_deref(), output).await?,
        Command::Backup { file } => transfer::backup(session, file, output).await?,
        Command::Verify { database } => {
            if !care::verify(session, database.as_deref(), output).await? {
                code = ExitCode::from(PROBLEMS);
            }
        }
        Command::Reindex { database } => care::reindex(session, database.as_deref(), output).await?,
        Command::Info { database: None } => about::store(session, output).await?,
        Command::Info { database: Some(name) } => about::database(session, name, output).await?,
        Command::List => about::list(session, output).await?,
        Command::User(command) => user::run(session, command, &arguments.who, output).await?,
    }
    output.flush()?;
    Ok(code)
}

/// A database to read.
async fn database(session: &Session, name: &str) -> Result<eidetica::Database, Error> {
    session.read(&names::find(session, name).await?).await
}

/// Refuses the name of a table that is not there, with the names there are: one that is read would just be empty.
async fn check_table(database: &eidetica::Database, table: &str) -> Result<(), Error> {
    let stores = database.stores().await?;
    let tables: Vec<&str> = stores
        .iter()
        .filter(|store| store.kind == eidetica::store::table::KIND)
        .map(|store| store.name.as_str())
        .collect();
    if tables.contains(&table) {
        return Ok(());
    }
    let message = "the database has no such table; see `there_are` for those it has";
    Err(Error::new(ErrorKind::NotFound, message).with("table", table).with("there_are", tables.join(", ")))
}
