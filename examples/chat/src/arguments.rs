//! The command line.

use clap::{Parser, ValueEnum};

/// A chat between peers, without a server.
///
/// Type and press Enter to send. `/create NAME` makes a room, `/share` shows its ticket, and whoever pastes that ticket into
/// another chat asks to join. `/help` tells the rest; Esc or Ctrl-C quits.
#[derive(Parser, Debug)]
#[command(name = "chat", version)]
pub struct Arguments {
    /// Where the rooms are kept, such as `sqlite:FILE`, `redb:FILE` or `memory:`. Default: `sqlite:chat-USERNAME.db`
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// How others are reached, and reach this chat
    #[arg(long, value_enum, default_value_t = Way::Iroh)]
    pub transport: Way,
    /// Whom the others see; anything up to 32 columns
    #[arg(long, env = "USER", default_value = "somebody", value_name = "NAME", hide_env = true)]
    pub username: String,
    /// Stay on this machine: listen on loopback alone, and ask no relay and no directory
    #[arg(long)]
    pub local: bool,
    /// A ticket of a room to join
    pub ticket: Option<String>,
}

/// How peers reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// QUIC from device to device, also through routers
    Iroh,
    /// HTTP, within a network
    Http,
    /// Both
    Both,
}
