//! The command line.

mod rights;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::condition::Condition;
pub use rights::{Careful, ChangeRight, Level, Rotate};

const AFTER: &str = "\
Exit codes:
  0    done
  1    failed; the error says why
  2    the command line makes no sense
  3    the store, database, table, row, field or file is not there
  4    `verify` has found problems, or that something is missing
  5    an admin of the database has to decide first; the request stays, and `join` or `sync` completes it later
  130  stopped by Ctrl-C or SIGTERM; what was done before is kept. `serve`, which ends in no other way, ends with 0

With --json an error is one JSON object on standard error: {\"error\": {\"kind\", \"message\", \"context\", \"causes\", \
\"retryable\"}}.
All commands work on a store while `serve` runs on it.";

/// Eidetica: tables with a signed, verifiable history.
#[derive(Debug, Parser)]
#[command(name = "eidetica", version, after_help = AFTER, after_long_help = AFTER)]
pub struct Arguments {
    /// The store, such as `sqlite:notes.db` or `memory:`. Default: a SQLite file in the data directory of this user.
    #[arg(long, global = true, env = "EIDETICA_STORE", hide_env_values = true, value_name = "URL", value_parser = crate::store_url::form)]
    pub store: Option<String>,

    #[command(flatten)]
    pub who: Who,

    #[command(flatten)]
    pub network: Network,

    /// Write JSON: one document, or one for each line; errors as JSON on standard error.
    #[arg(long, global = true)]
    pub json: bool,

    /// Say what happens inside, on standard error; twice for more.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    #[command(subcommand)]
    pub command: Command,
}

/// Who writes.
#[derive(Clone, Debug, clap::Args)]
pub struct Who {
    /// Who writes; `user add` makes one. Reading takes no user. Default: the user `default`, who has no password and is made with the
    /// first database. A password is asked for, or is the first line of the file that EIDETICA_PASSWORD_FILE names.
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,

    /// The first line of standard input is the password.
    #[arg(long, global = true)]
    pub password_stdin: bool,
}

/// Who else is asked for the way to a peer.
#[derive(Clone, Debug, clap::Args)]
pub struct Network {
    /// The relays of iroh, through which peers behind routers are found: `default` for the public ones, `disabled` for none, or
    /// URLs with commas between them.
    #[arg(long, global = true, env = "EIDETICA_RELAYS", value_name = "WHICH", default_value = "default")]
    pub relays: String,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Import a CSV or JSON Lines file into a table; again: write only what differs.
    Import(Import),
    /// Show a row, or one field of it.
    Get(Get),
    /// Change fields of a row; a row that is not there is made.
    Set(Set),
    /// Show the rows of a table: as a table on a terminal, else as lines with tabs.
    Rows(Rows),
    /// Delete rows.
    Delete {
        database: String,
        table: String,
        /// The keys of the rows.
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Make or drop the index of a field, which makes `rows --where FIELD=VALUE` fast.
    #[command(subcommand)]
    Index(Index),
    /// Show the entries of a database, latest first.
    Log {
        database: String,
        /// At most so many.
        #[arg(long, default_value_t = 20, value_parser = crate::typed::count, allow_negative_numbers = true)]
        limit: usize,
        /// Only entries that do not count, since a right of their author was taken away, those that are shown nowhere else included.
        #[arg(long)]
        void: bool,
    },
    /// Show who may do what in a database.
    Keys {
        database: String,
        /// As it was: ids of entries as `log` prints them, with commas between, or `~N`.
        #[arg(long, value_name = "SNAPSHOT", value_parser = crate::snapshot::form)]
        at: Option<String>,
    },
    /// Give a key, or everybody, a right.
    Grant(ChangeRight),
    /// Leave a key, or everybody, a right and no more.
    Limit(ChangeRight),
    /// Take all rights from a key; what it has written and nobody has seen by then counts no longer.
    Remove {
        database: String,
        /// The key, or its beginning, as `keys` shows it.
        key: String,
        /// As of an older state, as `at` takes it: what the key has written since counts no longer, either, seen or not.
        #[arg(long, value_name = "SNAPSHOT", value_parser = crate::snapshot::form)]
        as_of: Option<String>,
        #[command(flatten)]
        look: Careful,
    },
    /// Put a new key in the place of one.
    Rotate(Rotate),
    /// Look at a database as it was.
    At {
        database: String,
        /// Ids of entries as `log` prints them, with commas between, or `~N`: N entries before the newest.
        #[arg(value_parser = crate::snapshot::form)]
        snapshot: String,
        #[command(subcommand)]
        look: Look,
    },
    /// Write a database with its whole history to a file.
    Export {
        database: String,
        /// A file that does not exist yet.
        file: PathBuf,
    },
    /// Read a database with its whole history from a file that `export` has written.
    Restore {
        file: PathBuf,
        /// How to call it here. Default: the name in its settings, with a number if that is taken.
        #[arg(long)]
        name: Option<String>,
    },
    /// Copy the whole store into a new SQLite file, while it is in use.
    Backup {
        /// A file that does not exist yet.
        file: PathBuf,
    },
    /// Copy a store with everything in it into a new one, of this or another backend, and check the copy.
    Copy {
        /// The store to copy, such as `sqlite:notes.db`.
        #[arg(value_name = "URL", value_parser = crate::store_url::form)]
        from: String,
        /// A store that does not exist yet, such as `redb:notes.redb`.
        #[arg(value_name = "NEW_URL", value_parser = crate::store_url::form)]
        to: String,
    },
    /// List the kinds of stores that are part of this program.
    Backends,
    /// List the ways to other devices that are part of this program.
    Transports,
    /// Check every signature, every right and every record, of one database or of all.
    Verify { database: Option<String> },
    /// Rebuild what follows from the entries, for one database or for all.
    Reindex { database: Option<String> },
    /// Tell about the store, or about a database.
    Info { database: Option<String> },
    /// List the databases.
    List,
    /// Make users, check their passwords, and list them.
    #[command(subcommand)]
    User(UserCommand),
    /// Keep databases in step with peers, and let them in over HTTP, iroh or both, until Ctrl-C or SIGTERM.
    Serve(Serve),
    /// Make a ticket, with which others join a database here. `serve` has to run.
    Share(Share),
    /// Show the invitations that were made and are still good, or end one.
    Invitations {
        /// End the invitation with this id, or with the only one that begins so.
        #[arg(long, value_name = "ID")]
        revoke: Option<String>,
    },
    /// Ask a peer for access to a database, and fetch it once access is there.
    Join(Join),
    /// Show who asks for access to databases here.
    Requests {
        /// Those that were decided, too.
        #[arg(long)]
        all: bool,
    },
    /// Give somebody the access that was asked for, also after `reject`.
    Approve {
        /// The request, as `requests` shows it, or its beginning.
        request: String,
        /// Give this instead, which must be less.
        #[arg(long, value_name = "RIGHT")]
        permission: Option<Access>,
    },
    /// Refuse somebody the access that was asked for.
    Reject {
        /// The request, as `requests` shows it, or its beginning.
        request: String,
        /// Why; the other side is told.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Bring databases to the same state here and at peers, now.
    Sync {
        /// The address of a peer: `host:port`, `http://host:port/path`, or a ticket or key of iroh. Default: all peers that are
        /// known.
        address: Option<String>,
        /// Only this database. Default: all that both sides share.
        #[arg(long, value_name = "NAME")]
        database: Option<String>,
    },
    /// Show the peers that are known, or change what is known of them.
    Peers {
        #[command(subcommand)]
        command: Option<PeersCommand>,
    },
    /// Show how each database stands with each peer.
    Status {
        /// Go on until nothing is under way, with progress bars on a terminal.
        #[arg(long)]
        follow: bool,
    },
    /// Show in a minute that all of this works: two nodes on this machine, in a temporary directory.
    Demo(Demo),
}

#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Let peers in over HTTP at this `host:port`; port 0 takes one that is free. Without this and `--iroh` nobody is let in, and
    /// this side calls.
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Let peers in over iroh, also through routers; at this `ip:port` alone, if one is given. Port 0 is the one of last time, if
    /// it is free.
    #[arg(long, value_name = "ADDR")]
    pub iroh: Option<Option<String>>,
    /// Find peers on the local network over iroh, and be found there, by telling it of this device.
    #[arg(long, requires = "iroh")]
    pub mdns: bool,
    /// Tell peers this HTTP address instead, such as `https://peer.example.com/notes`; several times for several.
    #[arg(long, value_name = "ADDR", requires = "http")]
    pub advertise: Vec<String>,
    /// All callers come over a proxy: they share one address, and strangers among them are bounded together instead of one by one. The
    /// proxy has to see to it that none of them takes too much, or to say where each comes from (`--origin-header`).
    #[arg(long, requires = "http")]
    pub behind_proxy: bool,
    /// The header in which the proxy says where a caller comes from, such as `X-Forwarded-For`: strangers are then bounded one by one.
    /// Nobody but the proxy may reach the port, or he says what he likes.
    #[arg(long, value_name = "NAME", requires = "behind_proxy")]
    pub origin_header: Option<String>,
    /// Stop when standard input ends: for programs that start this one.
    #[arg(long)]
    pub until_stdin_ends: bool,
}

impl Serve {
    /// Whether anybody is let in.
    pub fn listens(&self) -> bool {
        self.http.is_some() || self.iroh.is_some()
    }
}

#[derive(Debug, clap::Args)]
pub struct Share {
    /// The database.
    pub database: String,
    /// Let whoever has the ticket in without asking, with this right. It is then to be kept like a key.
    #[arg(long, value_name = "RIGHT")]
    pub invite: Option<Access>,
    /// How many may use the invitation.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "invite", value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: u32,
    /// How long the invitation is good, such as `90m`, `12h` or `30d`.
    #[arg(long, value_name = "TIME", default_value = "7d", requires = "invite")]
    pub valid: humantime::Duration,
    /// Draw it as a QR code, too, for a phone to read.
    #[arg(long)]
    pub qr: bool,
}

#[derive(Debug, clap::Args)]
pub struct Join {
    /// The ticket of a database, as `share` makes it (`eidetica:…`), or the address of a peer: `host:port`,
    /// `http://host:port/path`, or a ticket or key of iroh.
    #[arg(value_name = "TICKET|ADDRESS")]
    pub address: String,
    /// The id of the database, as `list` shows it at the peer, or the name of one that the peer lets this user see. A ticket says
    /// it.
    pub database: Option<String>,
    /// What to ask for. Default: what the ticket says, else to write.
    #[arg(long, value_name = "RIGHT")]
    pub permission: Option<Access>,
    /// How to call it here. Default: the name in its settings, with a number if that is taken.
    #[arg(long)]
    pub name: Option<String>,
    /// Wait so many seconds for an admin to decide. Default: do not wait, and end with exit code 5.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub wait: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Access {
    /// To read.
    Read,
    /// To read and write.
    Write,
    /// To read and write, and to decide who else may.
    Admin,
}

#[derive(Debug, Subcommand)]
pub enum PeersCommand {
    /// List them.
    List,
    /// Keep a database in step with a peer from now on.
    Add {
        /// The device key of the peer, as `info` shows it there.
        peer: String,
        /// The database.
        database: String,
        /// Where the peer can be reached; several times for several.
        #[arg(long, value_name = "ADDR")]
        address: Vec<String>,
        /// What people call it.
        #[arg(long)]
        name: Option<String>,
    },
    /// Forget a peer, its addresses, and that databases are synced with it.
    Remove {
        /// The device key of the peer, or its beginning.
        peer: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct Demo {
    /// How many entries the transfer has that is interrupted.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(500..=1_000_000))]
    pub entries: u64,
    /// How many changes are sent each way to measure the latency.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(5..=10_000))]
    pub pushes: u64,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    pub limit: u64,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user, who has no password unless one is asked for.
    Add {
        name: String,
        /// Ask for a password, or take it from the file that EIDETICA_PASSWORD_FILE names.
        #[arg(long)]
        password: bool,
    },
    /// Check that a user can be let in, and tell about them.
    Login { name: String },
    /// List the users.
    List,
}

#[derive(Debug, clap::Args)]
pub struct Import {
    /// A CSV file with a header line, or JSON Lines.
    pub file: PathBuf,
    /// The database; it is created if it is new.
    #[arg(long, value_name = "NAME")]
    pub database: String,
    /// The table.
    #[arg(long, value_name = "NAME")]
    pub table: String,
    /// The column that becomes the key of the row.
    #[arg(long, value_name = "COLUMN")]
    pub key: String,
    /// The format. Default: by the ending of the file.
    #[arg(long)]
    pub format: Option<Format>,
    /// If the database is new: make a recovery key for it, stronger than all others, and write it to this file, which must not
    /// exist. Keep it apart from this device; `rotate --recovery` uses it.
    #[arg(long, value_name = "FILE")]
    pub recovery_key: Option<PathBuf>,
    /// Keep all cells of a CSV file as text, and do not look for numbers.
    #[arg(long)]
    pub text: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header line (`.csv`).
    Csv,
    /// One JSON object on each line (`.jsonl`, `.ndjson`).
    Jsonl,
}

#[derive(Debug, clap::Args)]
pub struct Get {
    pub database: String,
    #[command(flatten)]
    pub row: GetRow,
}

#[derive(Debug, clap::Args)]
pub struct GetRow {
    pub table: String,
    pub key: String,
    pub field: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Set {
    pub database: String,
    pub table: String,
    pub key: String,
    /// `FIELD=VALUE`: int, float, bool, `null`, else text. `FIELD:=JSON` for anything else, such as `zip:='\"7\"'`.
    #[arg(required = true, value_name = "FIELD=VALUE")]
    pub fields: Vec<crate::typed::Assignment>,
}

#[derive(Debug, clap::Args)]
pub struct Rows {
    pub database: String,
    #[command(flatten)]
    pub rows: RowsOf,
}

#[derive(Debug, clap::Args)]
pub struct RowsOf {
    pub table: String,
    /// Only rows of which this holds, such as `state=WA` or `latitude>60`; several must hold all. Signs: = != < <= > >=.
    #[arg(long = "where", value_name = "CONDITION")]
    pub conditions: Vec<Condition>,
    /// In the order of a field.
    #[arg(long, value_name = "FIELD")]
    pub sort: Option<String>,
    /// Greatest first.
    #[arg(long)]
    pub desc: bool,
    /// At most so many.
    #[arg(long, value_name = "N", value_parser = crate::typed::count, allow_negative_numbers = true)]
    pub limit: Option<usize>,
    /// Only rows whose keys begin so.
    #[arg(long)]
    pub prefix: Option<String>,
    /// Only these fields, in this order.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub fields: Option<Vec<String>>,
    /// Only rows that were changed apart in different ways, with the values that do not show.
    #[arg(long)]
    pub conflicts: bool,
}

#[derive(Debug, Subcommand)]
pub enum Look {
    /// The rows of a table.
    Rows(RowsOf),
    /// A row, or one field of it.
    Get(GetRow),
}

#[derive(Debug, Subcommand)]
pub enum Index {
    /// Make the index of a field.
    Add { database: String, table: String, field: String },
    /// Drop it.
    Drop { database: String, table: String, field: String },
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        super::Arguments::command().debug_assert();
    }
}
