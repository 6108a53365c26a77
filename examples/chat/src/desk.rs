//! What the interface has done: rooms are made, joined and opened here, and requests decided.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eidetica::crdt::Doc;
use eidetica::sync::Syncer;
use eidetica::sync::access::RequestId;
use eidetica::sync::ticket::DatabaseTicket;
use eidetica::sync::transports::http::HttpTransport;
use eidetica::sync::transports::iroh::{IrohTransport, RelayMode};
use eidetica::{Error, ErrorKind, Id, Instance, PublicKey, Result, User};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::arguments::Way;
use crate::history::Message;
use crate::names::Names;
use crate::qr;
use crate::room::{self, Order, Person};
use crate::text;

/// How often it is looked for rooms that have come to be open, and for requests.
const LOOK: Duration = Duration::from_secs(1);
/// How many things may wait to be done in one room.
const ORDERS: usize = 64;
/// How long rooms have at the end to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Create(String),
    Join(String),
    Share(Id),
    Say(Id, String),
    Typing(Id, bool),
    Approve(RequestId),
    Reject(RequestId),
}

/// Something to be shown.
#[derive(Debug)]
pub enum Update {
    Rooms(Vec<Room>),
    /// All that is to be shown of a room.
    History(Id, Vec<Message>),
    /// More of it.
    Said(Id, Vec<Message>),
    /// A message that could not be kept, and why.
    Unsent(Id, String, String),
    People(Id, Vec<Person>),
    Sync(Id, String),
    Requests(Vec<Asked>),
    Notice(String),
    /// The ticket of a room, and the same as a code for a camera.
    Ticket {
        room: String,
        ticket: String,
        code: Option<String>,
    },
    /// A room to be looked at.
    Entered(Id),
}

/// A room in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    pub id: Id,
    pub name: String,
    /// Why it is not open; `None` if it is.
    pub waits: Option<String>,
}

/// Somebody asks for access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub request: RequestId,
    pub room: Id,
    pub name: String,
    pub key: PublicKey,
    pub permission: String,
}

/// Does what the interface wants.
pub struct Desk {
    instance: Instance,
    user: User,
    sync: Syncer,
    name: String,
    updates: mpsc::Sender<Update>,
    rooms: BTreeMap<Id, mpsc::Sender<Order>>,
    names: Names,
    told: (Vec<Room>, Vec<Asked>),
    tasks: JoinSet<()>,
}

impl Desk {
    /// Opens the store, and lets peers in.
    pub async fn open(store: &str, way: Way, local: bool, name: &str, updates: mpsc::Sender<Update>) -> Result<Desk> {
        let instance = Instance::open_url(store).await?;
        let name = text::name(name);
        match Desk::begin(&instance, way, local, &name).await {
            Ok((user, sync, names)) => {
                let rooms = BTreeMap::new();
                let (told, tasks) = (Default::default(), JoinSet::new());
                Ok(Desk { instance, user, sync, name, updates, rooms, names, told, tasks })
            }
            Err(error) => {
                // The error says more than closing could.
                let _ = instance.close().await;
                Err(error)
            }
        }
    }

    async fn begin(instance: &Instance, way: Way, local: bool, name: &str) -> Result<(User, Syncer, Names)> {
        instance.enable_sync().await?;
        // Each name is a user of the store, with a key and rooms of its own.
        if !instance.list_users().await?.iter().any(|user| user == name) {
            instance.create_user(name, None).await?;
        }
        let mut user = instance.login_user(name, None).await?;
        let names = Names::open(&mut user).await?;
        let sync =
            instance.sync().ok_or_else(|| Error::new(ErrorKind::Internal, "sync is enabled, and is not there"))?;
        if way != Way::Http {
            let builder = match local {
                true => IrohTransport::builder().relay_mode(RelayMode::Disabled).bind("127.0.0.1:0"),
                false => IrohTransport::builder(),
            };
            sync.register_transport("iroh", builder).await?;
        }
        if way != Way::Iroh {
            let place = if local { "127.0.0.1:0" } else { "0.0.0.0:0" };
            sync.register_transport("http", HttpTransport::builder().bind(place)).await?;
        }
        sync.accept_connections().await?;
        Ok((user, sync, names))
    }

    /// The key of the user of this store.
    pub fn key(&self) -> Result<PublicKey> {
        self.user.get_default_key()
    }

    /// Does what it is told until there is nobody any more who could tell; then everything is closed.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<()> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut requests = self.sync.access_book().changes();
        loop {
            let done = tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => break,
                },
                _ = look.tick() => self.look().await,
                Ok(()) = requests.changed() => self.look().await,
                Some(_) = self.tasks.join_next() => Ok(()),
            };
            if let Err(error) = done {
                self.notice(said(&error)).await;
            }
        }
        let Desk { instance, rooms, mut tasks, .. } = self;
        // Rooms end when nobody has orders for them; those that are being joined are left.
        drop(rooms);
        let _ = timeout(GOODBYE, async { while tasks.join_next().await.is_some() {} }).await;
        tasks.shutdown().await;
        instance.close().await
    }

    async fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Create(name) => {
                let name = text::name(&name);
                let settings: Doc = [("name", name.as_str())].into_iter().collect();
                let key = self.user.get_default_key()?;
                let id = *self.user.create_database(settings, &key).await?.root_id();
                self.look().await?;
                let _ = self.updates.send(Update::Entered(id)).await;
                self.share(id).await
            }
            Command::Join(ticket) => self.join(&ticket).await,
            Command::Share(id) => self.share(id).await,
            Command::Say(id, text) => {
                self.say(id, text).await;
                Ok(())
            }
            Command::Typing(id, typing) => {
                // Only the present counts: one that finds no room is as good as never said.
                let _ = self.rooms.get(&id).map(|orders| orders.try_send(Order::Typing(typing)));
                Ok(())
            }
            Command::Approve(request) => {
                let key = self.user.get_default_key()?;
                self.user.approve_bootstrap_request(&self.sync, &request, &key).await?;
                self.look().await
            }
            Command::Reject(request) => {
                let key = self.user.get_default_key()?;
                self.user.reject_bootstrap_request(&self.sync, &request, &key).await?;
                self.look().await
            }
        }
    }

    async fn say(&self, id: Id, text: String) {
        let why = match self.rooms.get(&id).map(|orders| orders.try_send(Order::Say(text))) {
            Some(Ok(())) => return,
            Some(Err(mpsc::error::TrySendError::Full(Order::Say(text)))) => (text, "too much is being said at once"),
            Some(Err(mpsc::error::TrySendError::Closed(Order::Say(text)))) => {
                (text, "the room is not followed any longer")
            }
            _ => return,
        };
        let _ = self.updates.send(Update::Unsent(id, why.0, why.1.to_owned())).await;
    }

    async fn share(&self, id: Id) -> Result<()> {
        let ticket = self.user.share(&id).await?;
        let room = text::name(ticket.name.as_deref().unwrap_or("a room"));
        let ticket = ticket.to_string();
        let code = qr::drawn(&ticket);
        let _ = self.updates.send(Update::Ticket { room, ticket, code }).await;
        Ok(())
    }

    /// Asks for a room in the background: whoever has it may take long to answer.
    async fn join(&mut self, ticket: &str) -> Result<()> {
        let ticket: DatabaseTicket = ticket.trim().parse()?;
        let name = text::name(ticket.name.as_deref().unwrap_or("a room"));
        self.names.keep(ticket.database, name.clone()).await?;
        self.notice(format!("joining {name} …")).await;
        let (user, updates) = (self.user.clone(), self.updates.clone());
        self.tasks.spawn(async move {
            let (entered, notice) = match user.join(&ticket).await {
                Ok(_) => (true, format!("joined {name}")),
                Err(error) if error.kind() == ErrorKind::Pending => {
                    (true, format!("asked to join {name}; somebody there has to approve"))
                }
                Err(error) => (false, format!("{name} cannot be joined now: {}", said(&error))),
            };
            if entered {
                let _ = updates.send(Update::Entered(ticket.database)).await;
            }
            let _ = updates.send(Update::Notice(notice)).await;
        });
        Ok(())
    }

    /// Looks which rooms there are, opens those that have come to be open, and who asks for access.
    async fn look(&mut self) -> Result<()> {
        let mut rooms = Vec::new();
        let mut there = BTreeSet::new();
        for tracked in self.user.databases().await? {
            let id = tracked.database_id;
            if self.names.are_in(&id) {
                continue;
            }
            there.insert(id);
            let (mut name, mut waits) = (self.names.of(&id).cloned(), None);
            match self.user.open_database(&id).await {
                Ok(room) => {
                    name = room.get_name().await.ok().map(|name| text::name(&name)).or(name);
                    if self.rooms.get(&id).is_none_or(mpsc::Sender::is_closed) {
                        let (orders, to_do) = mpsc::channel(ORDERS);
                        self.rooms.insert(id, orders);
                        self.tasks.spawn(room::run(
                            room,
                            self.sync.clone(),
                            self.name.clone(),
                            self.updates.clone(),
                            to_do,
                        ));
                    }
                }
                Err(error) => waits = Some(text::one_line(error.message(), 400)),
            }
            let name = name.unwrap_or_else(|| text::cut(&id.to_string(), 16));
            rooms.push(Room { id, name, waits });
        }
        self.rooms.retain(|id, _| there.contains(id));
        rooms.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
        let mut asked = Vec::new();
        for (request, details) in self.user.pending_bootstrap_requests(&self.sync).await? {
            asked.push(Asked {
                request,
                room: details.database,
                name: text::name(&details.name),
                key: details.key,
                permission: format!("{:?}", details.permission).to_lowercase(),
            });
        }
        if self.told.0 != rooms {
            self.told.0.clone_from(&rooms);
            let _ = self.updates.send(Update::Rooms(rooms)).await;
        }
        if self.told.1 != asked {
            self.told.1.clone_from(&asked);
            let _ = self.updates.send(Update::Requests(asked)).await;
        }
        Ok(())
    }

    async fn notice(&self, text: String) {
        let _ = self.updates.send(Update::Notice(text)).await;
    }
}

/// An error in one line.
fn said(error: &Error) -> String {
    text::one_line(&error.to_string(), 400)
}
