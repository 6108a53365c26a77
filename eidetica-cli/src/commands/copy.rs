//! A store moves to another backend: `copy`.

use std::path::{Path, PathBuf};

use eidetica::backend::Registry;
use eidetica::{Error, ErrorKind, Instance};

use crate::arguments::Who;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{Output, remark};
use crate::session::{Intent, Session, file_of};
use crate::store_url::check_scheme;

/// Copies everything into a store that does not exist yet, and checks the copy.
pub async fn run(from: &str, to: &str, who: &Who, output: &mut Output, interrupt: &Interrupt) -> Result<(), Failure> {
    check_scheme(to)?;
    let Some(file) = file_of(to) else {
        let message = "the copy would be gone at once; name a store that lasts";
        return Err(Error::new(ErrorKind::InvalidInput, message).with("store", to).into());
    };
    if file.symlink_metadata().is_ok() {
        let message = "there is something by this name already, and it is left as it is; name a new store";
        return Err(Error::new(ErrorKind::AlreadyExists, message).with("store", to).into());
    }
    let session = interrupt.guard(async { Ok(Session::open(Some(from), who, Intent::Use).await?) }).await?;
    let mut made = false;
    let copied = interrupt.guard(async { Ok(copy(&session, to, &mut made).await?) }).await;
    let old_key = session.key_file().filter(|key| key.path().exists());
    let closed = session.instance.close().await;
    // A part of a store is none, and would only be in the way. What somebody else has made meanwhile stays.
    let others = matches!(&copied, Err(Failure::Error(error)) if error.kind() == ErrorKind::AlreadyExists);
    if copied.is_err() && made && !others {
        remove(&file);
    }
    let copied = copied?;
    closed?;
    if let Some(key) = old_key {
        let key = key.path().display();
        remark(&format!(
            "{key} is left where it is: an older version has kept its key there; keep it, or move it along"
        ));
    }
    let Copied { records, databases, entries } = copied;
    let text = format!(
        "copied {records} records, keys included, and checked {databases} databases of {entries} entries; \
         keep it as carefully as the store"
    );
    output.say(
        &text,
        || serde_json::json!({ "records": records, "databases": databases, "entries": entries, "store": to }),
    )?;
    output.flush()
}

struct Copied {
    records: u64,
    databases: usize,
    entries: u64,
}

/// `made`: from when on the target is there by this command.
async fn copy(session: &Session, to: &str, made: &mut bool) -> Result<Copied, Error> {
    // What was here before the copy must be in it; more may come while it is made.
    let mut before = Vec::new();
    for id in session.instance.databases().await? {
        let database = session.read(&id).await?;
        before.push((id, database.get_tips().await?));
    }
    let target = Registry::linked()?.open_backend(to).await?;
    *made = true;
    let records = session.instance.backup(target).await?;
    let copy = Instance::open_url(to).await?;
    let checked = check(&copy, &before).await;
    copy.close().await?;
    Ok(Copied { records, databases: before.len(), entries: checked? })
}

/// Checks each database of the copy, record by record; how many entries they have.
async fn check(copy: &Instance, before: &[(eidetica::Id, Vec<eidetica::Id>)]) -> Result<u64, Error> {
    let wrong =
        |message: &'static str, id: &eidetica::Id| Error::new(ErrorKind::Corrupted, message).with("database", id);
    let mut entries = 0;
    for (id, tips) in before {
        let database = copy.open_database_with_key(id, None).await?;
        let report = database.verify().await?;
        if !report.is_clean() {
            let message = "the copy of a database has problems; `eidetica verify` on the store says whether they were there before";
            return Err(wrong(message, id));
        }
        for tip in tips {
            if database.get_entry(tip).await.is_err() {
                return Err(wrong("an entry is missing in the copy", id).with("entry", tip));
            }
        }
        entries += report.entries;
    }
    Ok(entries)
}

/// The file, and what backends put beside it.
fn remove(file: &Path) {
    let beside = |end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    for name in ["", "-wal", "-shm"].map(beside) {
        let _ = std::fs::remove_file(name);
    }
}
