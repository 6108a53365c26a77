//! Changes of who may do what, as they stand on the command line.

use std::path::PathBuf;

/// Whether a change of rights is only looked at, asked about, or made at once.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Careful {
    /// Only say what it would do.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long, short, conflicts_with = "dry_run")]
    pub yes: bool,
}

#[derive(Debug, clap::Args)]
pub struct ChangeRight {
    pub database: String,
    /// The key (`ed25519:…`), or the beginning of one that `keys` shows; `*` for everybody.
    pub key: String,
    /// The right.
    pub right: Level,
    /// How strong an admin is: greater is stronger, and it must be less than that of who gives it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub priority: u32,
    #[command(flatten)]
    pub look: Careful,
}

#[derive(Debug, clap::Args)]
pub struct Rotate {
    pub database: String,
    /// The key that ends, or its beginning. Default: the one that this user writes the database with.
    #[arg(long)]
    pub key: Option<String>,
    /// The key that takes its place. Default: a new one of this user.
    #[arg(long, value_name = "KEY")]
    pub to: Option<String>,
    /// As of an older state: what the old key has written since counts no longer. It takes a key above the old one.
    #[arg(long, value_name = "SNAPSHOT", value_parser = crate::snapshot::form)]
    pub as_of: Option<String>,
    /// Sign with the recovery key in this file, as `import --recovery-key` has written it.
    #[arg(long, value_name = "FILE")]
    pub recovery: Option<PathBuf>,
    #[command(flatten)]
    pub look: Careful,
}

/// A right, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// Nothing.
    None,
    /// To read.
    Read,
    /// To read and write.
    Write,
    /// To read and write, and to decide who else may.
    Admin,
}
