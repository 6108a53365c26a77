//! What the examples have in common: from the command line to a database that several terminals share.

use std::error::Error;

use eidetica::crdt::Doc;
use eidetica::sync::Syncer;
use eidetica::sync::transports::http::HttpTransport;
use eidetica::user::Terms;
use eidetica::{Database, ErrorKind, Instance, Result, User};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// A database that is kept in step with those of others while this lives.
pub struct Shared {
    instance: Instance,
    sync: Syncer,
    database: Database,
    /// Whoever has an invitation is let in while its maker is logged in.
    _user: User,
}

/// Opens the store that the command line names, and in it the database of this name: the one of a ticket, if there is one behind it, else
/// the one that is there, else a new one.
pub async fn open(name: &str) -> Result<Shared, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let store =
        arguments.next().ok_or("which store? Such as: sqlite:anna.db, and behind it the ticket of somebody else")?;
    let instance = Instance::open_url(&store).await?;
    if instance.list_users().await?.is_empty() {
        instance.create_user("me", None).await?;
    }
    let mut user = instance.login_user("me", None).await?;

    instance.enable_sync().await?;
    let sync = instance.sync().ok_or("sync is enabled")?;
    // Between machines: an address of this one that the others reach, or `IrohTransport::builder()`.
    sync.register_transport("http", HttpTransport::builder().bind("127.0.0.1:0")).await?;
    sync.accept_connections().await?;

    let database = match arguments.next() {
        Some(ticket) => user.join(&ticket.parse()?).await?,
        None => match user.find_database(name).await {
            Ok(mut found) => found.remove(0),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let settings: Doc = [("name", name)].into_iter().collect();
                user.create_database(settings, &user.get_default_key()?).await?
            }
            Err(error) => return Err(error.into()),
        },
    };
    match user.invite(database.root_id(), Terms { uses: 8, ..Terms::default() }).await {
        Ok(ticket) => println!("others join with: {ticket}"),
        // Who was invited does not invite.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Shared { instance, sync, database, _user: user })
}

impl Shared {
    /// Shows what a query comes to, and again whenever that is something else, and does what is typed, until the input ends.
    pub async fn follow(
        self,
        query: impl AsyncFn(&Database) -> Result<String>,
        act: impl AsyncFn(&Database, &str) -> Result<()>,
    ) -> Result<(), Box<dyn Error>> {
        let mut typed = BufReader::new(stdin()).lines();
        let mut shown = None;
        loop {
            // The place first: what comes while the query runs makes it run again.
            let cursor = self.database.cursor().await?;
            let now = query(&self.database).await?;
            if shown.as_ref() != Some(&now) {
                // Others may have written anything; nothing of it is to command the terminal.
                println!("{}", now.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}"));
                shown = Some(now);
            }
            tokio::select! {
                arrived = self.database.arrival_after(cursor) => drop(arrived?),
                line = typed.next_line() => match line? {
                    None => break,
                    Some(line) => if let Err(error) = act(&self.database, line.trim()).await {
                        eprintln!("{error}");
                    },
                },
            }
        }
        if let Err(error) = self.sync.flush().await {
            eprintln!("not everything has reached the others yet; it does when this runs again: {error}");
        }
        Ok(self.instance.close().await?)
    }
}
