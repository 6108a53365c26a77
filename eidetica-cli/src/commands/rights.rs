//! `grant`, `limit`, `remove`, `rotate`: changes of who may do what, which are looked at before they are made.

use std::io::{BufRead, IsTerminal, Write};

use eidetica::auth::{Right, Subject};
use eidetica::user::{PreparedChange, RightsChange};
use eidetica::{Database, Error, ErrorKind, Foreseen, Id, PublicKey, Snapshot, User};
use serde_json::{Value as Json, json};

use super::keys::{self, Holders};
use crate::arguments::{Careful, ChangeRight, Level, Rotate};
use crate::failure::Failure;
use crate::key::KeyFile;
use crate::output::{Output, remark};
use crate::session::Session;
use crate::snapshot;

/// What is to be done, in the words of a command.
struct Job<'j> {
    session: &'j Session,
    /// The database, as people call it.
    name: &'j str,
    database: Database,
    /// The command.
    verb: &'static str,
    /// Whose right it is about.
    subject: Subject,
    /// Who takes the place of that.
    successor: Option<PublicKey>,
    look: Careful,
}

/// Gives a right.
pub async fn grant(session: &Session, change: &ChangeRight, output: &mut Output) -> Result<(), Failure> {
    let right = right(change)?;
    if right == Right::NONE {
        let message = "a grant gives something; `limit` and `remove` take";
        return Err(Failure::Usage(Error::new(ErrorKind::InvalidInput, message)));
    }
    let database = super::database(session, &change.database).await?;
    let subject = subject(session, &database, &change.key).await?;
    let what = match subject {
        Subject::Everybody => {
            let has = database.now().own_right_of(subject).await?;
            everybody(right, has < right, "has as much already; `limit` takes some of it")?
        }
        Subject::Key(key) => RightsChange::Grant { key, right },
    };
    let (name, look) = (change.database.as_str(), change.look);
    Job { session, name, database, verb: "grant", subject, successor: None, look }.run(what, output).await
}

/// Takes some of a right.
pub async fn limit(session: &Session, change: &ChangeRight, output: &mut Output) -> Result<(), Failure> {
    let right = right(change)?;
    let database = super::database(session, &change.database).await?;
    let subject = subject(session, &database, &change.key).await?;
    let what = match subject {
        Subject::Everybody => {
            let has = database.now().own_right_of(subject).await?;
            everybody(right, has > right, "has no more than that")?
        }
        Subject::Key(_) if right == Right::NONE => {
            let message = "to leave a key nothing is to remove it, also from what everybody may; use `remove`";
            return Err(Failure::Usage(Error::new(ErrorKind::InvalidInput, message)));
        }
        Subject::Key(key) => RightsChange::Limit { key, right },
    };
    let (name, look) = (change.database.as_str(), change.look);
    Job { session, name, database, verb: "limit", subject, successor: None, look }.run(what, output).await
}

/// Takes all.
pub async fn remove(
    session: &Session,
    name: &str,
    key: &str,
    as_of: Option<&str>,
    look: Careful,
    output: &mut Output,
) -> Result<(), Failure> {
    let database = super::database(session, name).await?;
    let Subject::Key(key) = subject(session, &database, key).await? else {
        let message = "everybody is not removed; `limit DATABASE '*' none` takes what everybody may";
        return Err(Failure::Usage(Error::new(ErrorKind::InvalidInput, message)));
    };
    let as_of = older(&database, as_of).await?;
    let subject = Subject::Key(key);
    let job = Job { session, name, database, verb: "remove", subject, successor: None, look };
    job.run(RightsChange::Remove { key, as_of }, output).await
}

/// Puts a key in the place of another one.
pub async fn rotate(session: &Session, rotate: &Rotate, output: &mut Output) -> Result<(), Failure> {
    let (name, look) = (rotate.database.as_str(), rotate.look);
    let database = super::database(session, name).await?;
    let mut user = session.user().await?.clone();
    let key = match &rotate.key {
        Some(text) => keys::find(session, &database, text).await?,
        None => writing_key(&user, database.root_id()).await?,
    };
    let recovery = match &rotate.recovery {
        None => None,
        Some(path) => {
            let message = "there is no such file; it is the one that `import --recovery-key` has written";
            let missing = || Error::new(ErrorKind::NotFound, message).with("path", path.display());
            Some(KeyFile::at(path).read()?.ok_or_else(missing)?)
        }
    };
    let as_of = older(&database, rotate.as_of.as_deref()).await?;
    let successor = match &rotate.to {
        Some(text) => keys::find(session, &database, text).await?,
        // A look makes nothing: any key shows what would become of the old one.
        None if look.dry_run => session.instance.generate_key()?.public(),
        None => spare_key(&mut user, &database).await?,
    };
    let change = RightsChange::Rotate { key, successor, as_of };
    let id = *database.root_id();
    let prepared = match &recovery {
        Some(recovery) => user.prepare_change_with(&id, recovery, change).await,
        None => user.prepare_change(&id, change).await,
    };
    let subject = Subject::Key(key);
    let job = Job { session, name, database, verb: "rotate", subject, successor: Some(successor), look };
    let prepared = prepared.map_err(|error| job.explained(error))?;
    job.go_on(prepared, output).await
}

impl Job<'_> {
    async fn run(&self, change: RightsChange, output: &mut Output) -> Result<(), Failure> {
        let user = self.session.user().await?;
        let prepared = user.prepare_change(self.database.root_id(), change).await;
        let prepared = prepared.map_err(|error| self.explained(error))?;
        self.go_on(prepared, output).await
    }

    /// Says what it will do, asks if something is taken away, and does it.
    async fn go_on(&self, prepared: PreparedChange, output: &mut Output) -> Result<(), Failure> {
        let foreseen = prepared.foresee().await.map_err(|error| self.explained(error))?;
        let holders = Holders::of(self.session, &self.database).await?;
        let (by, right, hands_over) = (*prepared.by(), prepared.right(), prepared.hands_over());
        let document = |entry: Option<Id>| self.document(&foreseen, (&by, right, hands_over), entry);
        let lines = self.lines(&foreseen, &holders, (&by, right, hands_over));
        if self.look.dry_run {
            return output.say(&lines.join("\n"), || document(None));
        }
        let takes = !foreseen.struck.is_empty() || foreseen.rights.iter().any(|change| change.after < change.before);
        if takes && !self.look.yes && !asked(lines.clone()).await? {
            let message = "nothing was changed";
            return Err(Error::new(ErrorKind::Conflict, message).with("reason", "declined").into());
        }
        let committed = prepared.commit().await.map_err(|error| self.explained(error))?;
        for warning in &committed.warnings {
            remark(&warning.to_string());
        }
        let done = match takes && !self.look.yes {
            // It was said before.
            true => "done".to_owned(),
            false => lines.join("\n"),
        };
        output.say(&done, || document(Some(committed.id)))
    }

    /// What it does, for people.
    fn lines(&self, foreseen: &Foreseen, holders: &Holders, how: (&PublicKey, Right, bool)) -> Vec<String> {
        let (by, right, hands_over) = how;
        let who = holders.shown(&self.subject);
        let name = crate::text::escaped(self.name);
        let signed = format!("signed by {}", holders.shown(&Subject::Key(*by)));
        let mut lines = vec![match (&self.successor, hands_over) {
            (None, _) if Subject::Key(*by) == self.subject => {
                format!("{name}: {who} steps down to {right}; what it has written stays")
            }
            (None, _) => format!("{name}: {who}: {right}; {signed}"),
            (Some(new), true) => format!(
                "{name}: {who} hands over to {}, which becomes {right}, and steps down; what it has written stays",
                holders.shown(&Subject::Key(*new))
            ),
            (Some(new), false) => {
                let new = holders.shown(&Subject::Key(*new));
                format!("{name}: {new} takes the place of {who}, as {right}; {signed}")
            }
        }];
        for change in foreseen.rights.iter().filter(|change| change.subject != self.subject) {
            let word = if change.after < change.before { "loses" } else { "gets" };
            let (before, after) = (change.before, change.after);
            lines.push(format!("  {} {word} a right: {before} -> {after}", holders.shown(&change.subject)));
        }
        for (entries, what) in [(&foreseen.struck, "strikes"), (&foreseen.lifted, "brings back")] {
            for (author, count) in entries {
                let entries = if *count == 1 { "entry" } else { "entries" };
                lines.push(format!("  {what} {count} {entries} of {}", holders.shown(&Subject::Key(*author))));
            }
        }
        if foreseen.leaves_no_admin {
            lines.push("  leaves no admin: nobody will be able to change a right here, ever".into());
        }
        let lowers = foreseen.rights.iter().any(|change| change.after < change.before);
        if lowers && !hands_over {
            lines.push(match foreseen.struck.is_empty() {
                true => {
                    "  strikes nothing that is here; what such a key has written and has not arrived yet will not count"
                        .into()
                }
                false => "  what such a key has written and has not arrived yet will not count, either".into(),
            });
        }
        lines
    }

    /// The same for programs.
    fn document(&self, foreseen: &Foreseen, how: (&PublicKey, Right, bool), entry: Option<Id>) -> Json {
        let (by, right, hands_over) = how;
        let entries = |entries: &std::collections::BTreeMap<PublicKey, u64>| -> Json {
            entries.iter().map(|(author, count)| json!({ "author": author.to_string(), "entries": count })).collect()
        };
        let changes = foreseen.rights.iter().map(|change| {
            json!({
                "key": change.subject.to_string(), "before": keys::word(change.before), "after": keys::word(change.after),
                "priority_before": change.before.priority(), "priority_after": change.after.priority(),
            })
        });
        json!({
            "command": self.verb, "database": self.database.root_id().to_string(), "key": self.subject.to_string(),
            "successor": self.successor.map(|key| key.to_string()), "right": keys::word(right), "priority": right.priority(),
            "by": by.to_string(), "hands_over": hands_over, "rights": changes.collect::<Vec<_>>(),
            "strikes": entries(&foreseen.struck), "lifts": entries(&foreseen.lifted),
            "leaves_no_admin": foreseen.leaves_no_admin,
            "done": entry.is_some(), "entry": entry.map(|id| id.to_string()),
        })
    }

    /// An error with what to do about it.
    fn explained(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::PermissionDenied || error.context("reason") == Some("no_admin") {
            return error;
        }
        let message = "this change is not allowed, and nothing was changed; an admin changes rights of keys below his own, gives more \
                       than there is and less than he has himself; `eidetica keys` shows who that is";
        let explained = Error::new(ErrorKind::PermissionDenied, message).with("database", self.name);
        match error.context("reason") {
            Some(reason) => explained.with("reason", reason.to_owned()),
            None => explained.caused_by(error),
        }
    }
}

/// Whose right it is about.
async fn subject(session: &Session, database: &Database, text: &str) -> Result<Subject, Failure> {
    match text {
        "*" => Ok(Subject::Everybody),
        text => Ok(Subject::Key(keys::find(session, database, text).await?)),
    }
}

fn right(change: &ChangeRight) -> Result<Right, Failure> {
    if change.priority > 0 && change.right != Level::Admin {
        let message = "only an admin has a priority";
        return Err(Failure::Usage(Error::new(ErrorKind::InvalidInput, message)));
    }
    Ok(match change.right {
        Level::None => Right::NONE,
        Level::Read => Right::READ,
        Level::Write => Right::WRITE,
        Level::Admin => Right::admin(change.priority),
    })
}

fn everybody(right: Right, changes: bool, otherwise: &str) -> Result<RightsChange, Failure> {
    if right > Right::WRITE {
        let message = "everybody can have at most the right to write";
        return Err(Failure::Usage(Error::new(ErrorKind::InvalidInput, message)));
    }
    match changes {
        true => Ok(RightsChange::Everybody { right }),
        false => Err(Error::new(ErrorKind::InvalidInput, format!("everybody {otherwise}")).into()),
    }
}

async fn older(database: &Database, text: Option<&str>) -> Result<Option<Snapshot>, Error> {
    match text {
        Some(text) => snapshot::parse(database, text).await.map(Some),
        None => Ok(None),
    }
}

/// The key that a user writes a database with.
async fn writing_key(user: &User, id: &Id) -> Result<PublicKey, Error> {
    if let Some(tracked) = user.databases().await?.into_iter().find(|tracked| tracked.database_id == *id) {
        return Ok(tracked.key_id);
    }
    let message = "this user follows the database with no key; name the one that is to end with --key";
    user.open_database(id).await?.author().ok_or_else(|| Error::new(ErrorKind::NotFound, message).with("database", id))
}

/// A key of the user that has no right in the database: one that an earlier attempt has left, or a new one.
async fn spare_key(user: &mut User, database: &Database) -> Result<PublicKey, Error> {
    let name = format!("successor in {}", database.root_id());
    for key in user.list_keys().await?.into_iter().filter(|key| key.name.as_deref() == Some(&name)) {
        if database.now().own_right_of(Subject::Key(key.id)).await? == Right::NONE {
            return Ok(key.id);
        }
    }
    user.add_private_key(Some(&name)).await
}

/// Says what a change does, and asks whether to go on. Errors: `InvalidInput` if there is nobody to ask.
async fn asked(lines: Vec<String>) -> Result<bool, Error> {
    let ask = move || {
        if !std::io::stdin().is_terminal() {
            let message =
                "this takes rights away, and there is no terminal to ask on; look with --dry-run, then say --yes";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("reason", "nobody_to_ask"));
        }
        let unreadable = |error| Error::new(ErrorKind::Io, "the terminal cannot be read").caused_by(error);
        lines.iter().for_each(|line| remark(line));
        let mut out = std::io::stderr().lock();
        out.write_all(b"go on? [y/N] ").and_then(|()| out.flush()).map_err(unreadable)?;
        drop(out);
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
        Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    };
    let done = tokio::task::spawn_blocking(ask).await;
    done.map_err(|error| Error::new(ErrorKind::Internal, "asking has ended early").caused_by(error))?
}
