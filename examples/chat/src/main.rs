//! A chat in the terminal, between peers and without a server.
//!
//! What is said lies in a database for each room, which all who are in it have; who is here is told by presence. `desk` does what
//! the interface wants, `app` is what it knows, and `view` how it looks.

mod app;
mod arguments;
mod desk;
mod history;
mod line;
mod names;
mod qr;
mod room;
mod terminal;
mod text;
mod view;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ratatui::DefaultTerminal;
use tokio::sync::mpsc;

use app::App;
use arguments::Arguments;
use desk::{Command, Desk, Update};
use terminal::Keys;

/// How much may wait between the interface and what is behind it.
const QUEUE: usize = 256;
/// How often it is looked whether somebody has stopped typing.
const TICK: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        eprintln!("chat: this program needs a terminal; standard input and output are none");
        return ExitCode::from(2);
    }
    match chat(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {}", text::harmless(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

async fn chat(arguments: Arguments) -> eidetica::Result<()> {
    let name = text::name(&arguments.username);
    let store = arguments.store.unwrap_or_else(|| format!("sqlite:chat-{}.db", file_name(&name)));
    let (tell, updates) = mpsc::channel(QUEUE);
    let (order, orders) = mpsc::channel(QUEUE);
    let desk = Desk::open(&store, arguments.transport, arguments.local, &name, tell).await?;
    let mut app = App::new(name, desk.key()?);
    let behind = tokio::spawn(desk.run(orders));
    if let Some(ticket) = arguments.ticket {
        // There is room: it is the first.
        let _ = order.try_send(Command::Join(ticket));
    }
    let shown = {
        let mut terminal = terminal::open()?;
        let shown = show(&mut terminal, &mut app, updates, order).await;
        terminal::close();
        shown
    };
    let lost =
        |error| eidetica::Error::new(eidetica::ErrorKind::Internal, "the chat has lost its store").caused_by(error);
    behind.await.map_err(lost)??;
    shown.map_err(terminal::failed)
}

/// Shows the chat until it is quit, or there is nothing behind it any more.
async fn show(
    terminal: &mut DefaultTerminal,
    app: &mut App,
    mut updates: mpsc::Receiver<Update>,
    orders: mpsc::Sender<Command>,
) -> std::io::Result<()> {
    let mut keys = Keys::read();
    let mut tick = tokio::time::interval(TICK);
    let mut ends = terminal::Ends::new()?;
    while !app.quits {
        terminal.draw(|frame| view::draw(frame, app))?;
        let mut commands = tokio::select! {
            biased;
            () = ends.come() => break,
            event = keys.next() => app.take(&event?, Instant::now()),
            update = updates.recv() => match update {
                Some(update) => { app.hear(update); Vec::new() }
                None => break,
            },
            _ = tick.tick() => app.tick(Instant::now()),
        };
        // Whatever else has come meanwhile is drawn together.
        while let Ok(update) = updates.try_recv() {
            app.hear(update);
        }
        while let Some(event) = keys.ready() {
            commands.extend(app.take(&event, Instant::now()));
        }
        for command in commands {
            // The interface waits for nobody.
            if orders.try_send(command).is_err() {
                app.notice("too much is to be done at once; try it again".to_owned());
            }
        }
    }
    Ok(())
}

/// A name of a file for the store of somebody.
fn file_name(name: &str) -> String {
    let letter = |char: char| if char.is_alphanumeric() { char } else { '_' };
    name.chars().map(letter).collect()
}
