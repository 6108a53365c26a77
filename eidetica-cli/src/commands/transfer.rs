//! Whole databases and stores on their way: `export`, `restore`, `backup`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::Path;

use eidetica::backend::database::Sqlite;
use eidetica::{Database, Error, ErrorKind, Exported};

use crate::failure::Failure;
use crate::names;
use crate::output::{Output, remark};
use crate::session::Session;

/// Writes the history of a database to a new file.
pub async fn export(database: &Database, file: &Path, output: &mut Output) -> Result<(), Failure> {
    check_new(file)?;
    let failed = |error| not_written(file, error);
    // It gets its name when it is whole, so that an interrupted export is not taken for one.
    let temporary = tempfile::NamedTempFile::new_in(directory_of(file)).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 18, temporary);
    let exported = database.export(&mut out).await?;
    let temporary = out.into_inner().map_err(|error| failed(error.into_error()))?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist_noclobber(file).map_err(|error| failed(error.error))?;
    let text = format!("exported {} entries, {} bytes, to {}", exported.entries, exported.bytes, file.display());
    warn_of_missing(&exported, "the database is not whole, and so the export is not", output);
    output.say(&text, || {
        serde_json::json!({
            "entries": exported.entries, "bytes": exported.bytes, "missing_bodies": exported.missing_bodies,
        })
    })
}

fn warn_of_missing(moved: &Exported, what: &str, output: &Output) {
    if moved.missing_bodies > 0 && !output.json {
        let lack = moved.missing_bodies;
        remark(&format!("{what}: {lack} times an entry lacks what it wrote to a store; `verify` names the stores"));
    }
}

/// Reads an export to its end, and refuses one that is not sound, before a store is touched.
pub async fn check(file: &Path) -> Result<(), Failure> {
    let path = file.to_owned();
    let check = tokio::task::spawn_blocking(move || {
        let checked = Exported::check(&mut open(&path)?);
        checked.map_err(|error| error.with("file", path.display()))
    });
    let ended = |error| Error::new(ErrorKind::Internal, "the thread that reads the file has ended").caused_by(error);
    check.await.map_err(ended)??;
    Ok(())
}

fn open(file: &Path) -> Result<BufReader<File>, Error> {
    let input = File::open(file).map_err(|error| {
        let message = "the file cannot be opened; check the path";
        Error::new(error.kind().into(), message).with("file", file.display()).caused_by(error)
    })?;
    Ok(BufReader::with_capacity(1 << 18, input))
}

/// Reads a database from a file, and gives it a name.
pub async fn restore(session: &Session, file: &Path, name: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    if let Some(name) = name
        && session.instance.engine().local(&format!("db-name/{name}")).await?.is_some()
    {
        let message = "a database of this store has this name; choose another one with --name";
        return Err(Error::new(ErrorKind::AlreadyExists, message).with("name", name).into());
    }
    let restored = session.instance.import(&mut open(file)?, None).await;
    let (database, moved) = restored.map_err(|error| error.with("file", file.display()))?;
    let name = names::call(session, &database, name, "restored").await?;
    let writable = follow(session, &database).await?;
    let mut text = format!("restored {} entries as {name}", moved.entries);
    if !writable {
        text.push_str("\nno key of the user has a right to write to it: it can be read");
    }
    warn_of_missing(&moved, "the export was not whole when it was made", output);
    output.say(&text, || {
        let id = database.root_id().to_string();
        serde_json::json!({
            "entries": moved.entries, "missing_bodies": moved.missing_bodies, "name": name, "id": id,
            "writable": writable,
        })
    })
}

/// Tracks a database if the user has a key that may write to it. Says whether that is so.
async fn follow(session: &Session, database: &Database) -> Result<bool, Error> {
    let id = *database.root_id();
    let mut user = match session.user().await {
        Ok(user) => user.clone(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let opened = match user.open_database(&id).await {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(false),
        opened => opened?,
    };
    let writes = opened.current_permission().await?.permission() >= Some(eidetica::auth::Permission::Write);
    if let (true, Some(key)) = (writes, opened.author()) {
        session.track(&mut user, id, key).await?;
    }
    Ok(writes)
}

/// Copies the whole store into a new SQLite file.
pub async fn backup(session: &Session, file: &Path, output: &mut Output) -> Result<(), Failure> {
    check_new(file)?;
    let failed = |error| not_written(file, error);
    // It gets its name when it is whole. What belongs to it meanwhile lies in a directory of its own, which goes with
    // everything in it after an error and when the command is stopped.
    let mut directory = tempfile::Builder::new();
    let directory = directory.prefix(".eidetica-backup-").tempdir_in(directory_of(file)).map_err(failed)?;
    let copy = directory.path().join("store.db");
    let target = Sqlite::open(&copy).await?;
    let rows = session.instance.backup(Box::new(target)).await?;
    let copy = tempfile::TempPath::try_from_path(copy).map_err(failed)?;
    copy.persist_noclobber(file).map_err(|error| failed(error.error))?;
    File::open(directory_of(file)).and_then(|directory| directory.sync_all()).map_err(failed)?;
    let text = format!("copied {rows} records to {}, keys included; keep it as carefully as the store", file.display());
    output.say(&text, || serde_json::json!({ "records": rows, "file": file.display().to_string() }))
}

fn check_new(file: &Path) -> Result<(), Error> {
    if file.symlink_metadata().is_ok() {
        let message = "there is something by this name already, and it is left as it is; name a new file";
        return Err(Error::new(ErrorKind::AlreadyExists, message).with("file", file.display()));
    }
    Ok(())
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn not_written(file: &Path, error: io::Error) -> Error {
    let message = "the file cannot be written; check that its directory is there and has room";
    Error::new(error.kind().into(), message).with("file", file.display()).caused_by(error)
}
