//! What the interface knows, and what becomes of keys and news. It draws nothing and waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use eidetica::sync::ticket::DatabaseTicket;
use eidetica::{Id, PublicKey};
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::desk::{Asked, Command, Room, Update};
use crate::history::{Message, SHOWN};
use crate::line::Line;
use crate::room::Person;

/// How long after the last key it counts as typing.
const TYPING: Duration = Duration::from_secs(4);
/// How many notices are kept.
const NOTICES: usize = 50;
/// How far one key scrolls, in lines.
const SCROLL: usize = 8;

/// Everything that is shown.
pub struct App {
    pub name: String,
    pub key: PublicKey,
    pub rooms: Vec<Room>,
    pub looked_at: Option<Id>,
    pub inside: BTreeMap<Id, Inside>,
    pub requests: Vec<Asked>,
    pub line: Line,
    /// The last is the latest.
    pub notices: Vec<String>,
    pub panel: Option<Panel>,
    /// How many lines it is scrolled up from the latest message.
    pub scrolled: usize,
    pub quits: bool,
    typing: Option<(Id, Instant)>,
    /// A room that was entered before it was in the list.
    expected: Option<Id>,
}

/// What is known of a room.
#[derive(Default)]
pub struct Inside {
    pub messages: Vec<Message>,
    pub people: Vec<Person>,
    pub sync: String,
    pub unread: usize,
}

/// What lies over the messages until it is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Panel {
    Help,
    Ticket { room: String, ticket: String, code: Option<String> },
}

impl App {
    pub fn new(name: String, key: PublicKey) -> App {
        App {
            name,
            key,
            rooms: Vec::new(),
            looked_at: None,
            inside: BTreeMap::new(),
            requests: Vec::new(),
            line: Line::default(),
            notices: vec!["welcome; /create NAME makes a room, /join TICKET enters one, /help tells more".to_owned()],
            panel: None,
            scrolled: 0,
            quits: false,
            typing: None,
            expected: None,
        }
    }

    /// Takes in news.
    pub fn hear(&mut self, update: Update) {
        match update {
            Update::Rooms(rooms) => {
                let waited = |id: &Id| self.rooms.iter().any(|room| room.id == *id && room.waits.is_some());
                let open = rooms.iter().filter(|room| room.waits.is_none() && waited(&room.id));
                let notices: Vec<String> = open.map(|room| format!("{} is open to you now", room.name)).collect();
                notices.into_iter().for_each(|notice| self.notice(notice));
                self.rooms = rooms;
                let there: BTreeSet<Id> = self.rooms.iter().map(|room| room.id).collect();
                self.inside.retain(|id, _| there.contains(id));
                self.looked_at = self.looked_at.filter(|id| there.contains(id));
                let next = self.expected.take_if(|id| there.contains(id));
                if let Some(id) = self.looked_at.or(self.rooms.first().map(|room| room.id)) {
                    self.look_at(id);
                }
                if let Some(id) = next {
                    self.go_to(id);
                }
            }
            Update::Entered(id) => match self.rooms.iter().any(|room| room.id == id) {
                true => self.go_to(id),
                false => self.expected = Some(id),
            },
            Update::History(id, messages) => {
                self.inside(id).messages.clear();
                self.add(id, messages);
            }
            Update::Said(id, messages) => {
                let news = messages.iter().filter(|message| message.author != self.key).count();
                if self.looked_at != Some(id) {
                    self.inside(id).unread += news;
                }
                self.add(id, messages);
            }
            Update::Unsent(id, text, why) => {
                self.notice(format!("not sent: {why}"));
                if self.looked_at == Some(id) && self.line.text().is_empty() {
                    self.line.insert(&text);
                }
            }
            Update::People(id, people) => self.inside(id).people = people,
            Update::Sync(id, state) => self.inside(id).sync = state,
            Update::Requests(requests) => self.requests = requests,
            Update::Notice(notice) => self.notice(notice),
            Update::Ticket { room, ticket, code } => self.panel = Some(Panel::Ticket { room, ticket, code }),
        }
    }

    fn add(&mut self, id: Id, messages: Vec<Message>) {
        let inside = self.inside(id);
        // What the history held already comes once more where somebody wrote while it was read.
        let known: BTreeSet<Id> = inside.messages.iter().map(|message| message.entry).collect();
        inside.messages.extend(messages.into_iter().filter(|message| !known.contains(&message.entry)));
        inside.messages.sort_by_key(|message| (message.millis, message.entry));
        let surplus = inside.messages.len().saturating_sub(SHOWN);
        inside.messages.drain(..surplus);
    }

    fn inside(&mut self, id: Id) -> &mut Inside {
        self.inside.entry(id).or_default()
    }

    pub fn notice(&mut self, text: String) {
        self.notices.push(text);
        let surplus = self.notices.len().saturating_sub(NOTICES);
        self.notices.drain(..surplus);
    }

    /// Looks at a room that was entered; not in the middle of a line, which is meant for the room that is looked at.
    fn go_to(&mut self, id: Id) {
        if self.line.text().is_empty() || self.looked_at == Some(id) {
            return self.look_at(id);
        }
        let name = self.rooms.iter().find(|room| room.id == id).map_or("the room", |room| &room.name);
        self.notice(format!("{name} is among your rooms now; Tab leads to it"));
    }

    fn look_at(&mut self, id: Id) {
        if self.looked_at != Some(id) {
            self.scrolled = 0;
        }
        self.looked_at = Some(id);
        self.inside(id).unread = 0;
    }

    /// Takes a key, a paste or a new size; tells what is to be done.
    pub fn take(&mut self, event: &Event, now: Instant) -> Vec<Command> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key, now),
            Event::Paste(text) => {
                self.line.insert(text.trim_end_matches(['\r', '\n']));
                self.types(now)
            }
            _ => Vec::new(),
        }
    }

    fn key(&mut self, key: KeyEvent, now: Instant) -> Vec<Command> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => self.quits = true,
            KeyCode::Esc if self.panel.is_some() => self.panel = None,
            KeyCode::Esc => self.quits = true,
            KeyCode::Char('w') if control => self.line.delete_word(),
            KeyCode::Char('u') if control => drop(self.line.take()),
            KeyCode::Char('a') if control => self.line.home(),
            KeyCode::Char('e') if control => self.line.end(),
            // Whatever else is held with Ctrl types nothing; with Alt Gr, which some terminals tell as both, it does.
            KeyCode::Char(_) if control && !key.modifiers.contains(KeyModifiers::ALT) => {}
            KeyCode::Char(char) => {
                self.line.insert(char.encode_utf8(&mut [0; 4]));
                return self.types(now);
            }
            KeyCode::Backspace => self.line.backspace(),
            KeyCode::Delete => self.line.delete(),
            KeyCode::Left => self.line.left(),
            KeyCode::Right => self.line.right(),
            KeyCode::Home => self.line.home(),
            KeyCode::End => self.line.end(),
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_add(SCROLL),
            KeyCode::PageDown => self.scrolled = self.scrolled.saturating_sub(SCROLL),
            KeyCode::Up => self.scrolled = self.scrolled.saturating_add(1),
            KeyCode::Down => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::Tab => return self.turn(1),
            KeyCode::BackTab => return self.turn(-1),
            KeyCode::Enter => return self.enter(),
            _ => {}
        }
        Vec::new()
    }

    /// Goes to another room.
    fn turn(&mut self, by: isize) -> Vec<Command> {
        let at = self.rooms.iter().position(|room| Some(room.id) == self.looked_at).unwrap_or(0);
        let count = self.rooms.len() as isize;
        let stopped = self.stops();
        if count > 0 {
            let id = self.rooms[(at as isize + by).rem_euclid(count) as usize].id;
            self.look_at(id);
        }
        stopped
    }

    /// Somebody types here: told at most once until a pause.
    fn types(&mut self, now: Instant) -> Vec<Command> {
        let Some(id) = self.looked_at.filter(|_| !self.line.text().starts_with('/')) else { return Vec::new() };
        let before = self.typing.replace((id, now + TYPING));
        match before {
            Some((other, _)) if other == id => Vec::new(),
            Some((other, _)) => vec![Command::Typing(other, false), Command::Typing(id, true)],
            None => vec![Command::Typing(id, true)],
        }
    }

    fn stops(&mut self) -> Vec<Command> {
        self.typing.take().map(|(id, _)| Command::Typing(id, false)).into_iter().collect()
    }

    /// What is to be done because time has passed.
    pub fn tick(&mut self, now: Instant) -> Vec<Command> {
        match self.typing {
            Some((_, until)) if until <= now => self.stops(),
            _ => Vec::new(),
        }
    }

    fn enter(&mut self) -> Vec<Command> {
        let mut commands = self.stops();
        let text = self.line.take();
        let trimmed = text.trim();
        self.scrolled = 0;
        if trimmed.is_empty() {
            return commands;
        }
        // A ticket that was pasted as it is, in lines as the screen of another has shown it.
        if let Some(ticket) = ticket(trimmed) {
            commands.push(Command::Join(ticket));
            return commands;
        }
        match trimmed.strip_prefix('/') {
            // Two strokes send one.
            Some(rest) if !rest.starts_with('/') => match self.command(rest) {
                Ok(command) => commands.extend(command),
                Err(notice) => self.notice(notice),
            },
            rest => match self.looked_at.map(|id| (id, self.rooms.iter().find(|room| room.id == id))) {
                Some((id, Some(room))) if room.waits.is_none() => {
                    commands.push(Command::Say(id, rest.unwrap_or(text.trim_end()).to_owned()));
                }
                Some(_) => {
                    self.notice("this room is not open yet; somebody there has to approve".to_owned());
                    self.line.insert(&text);
                }
                None => {
                    self.notice("there is no room yet: /create NAME, or /join TICKET".to_owned());
                    self.line.insert(&text);
                }
            },
        }
        commands
    }

    fn command(&mut self, text: &str) -> Result<Option<Command>, String> {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let room = self.looked_at.ok_or_else(|| "there is no room yet: /create NAME, or /join TICKET".to_owned());
        let asked = || match (rest.parse::<usize>(), self.requests.len()) {
            (_, 0) => Err("nobody asks for access".to_owned()),
            (Err(_), 1) if rest.is_empty() => Ok(self.requests[0].request),
            (Ok(number), count) if (1..=count).contains(&number) => Ok(self.requests[number - 1].request),
            (_, count) => Err(format!("say whom: /{word} NUMBER, from 1 to {count}")),
        };
        Ok(Some(match word {
            "create" if !rest.is_empty() => Command::Create(rest.to_owned()),
            "create" => return Err("say how the room is to be called: /create NAME".to_owned()),
            "join" if !rest.is_empty() => match ticket(rest) {
                Some(ticket) => Command::Join(ticket),
                None => return Err("that is no ticket; /share shows that of a room".to_owned()),
            },
            "join" => return Err("paste the ticket of the room: /join TICKET".to_owned()),
            "share" => Command::Share(room?),
            "approve" => Command::Approve(asked()?),
            "reject" => Command::Reject(asked()?),
            "help" => {
                self.panel = Some(Panel::Help);
                return Ok(None);
            }
            "quit" => {
                self.quits = true;
                return Ok(None);
            }
            _ => return Err(format!("there is no command /{word}; /help shows those there are")),
        }))
    }

    /// What to call somebody in a room: names that several have are told apart by the ends of their keys.
    pub fn called(&self, room: &Id, name: &str, key: &PublicKey) -> String {
        let Some(inside) = self.inside.get(room) else { return name.to_owned() };
        let others = inside.messages.iter().map(|message| (&message.name, &message.author));
        let others = others.chain(inside.people.iter().map(|person| (&person.name, &person.key)));
        let clashes = others.chain([(&self.name, &self.key)]).any(|(other, by)| other == name && by != key);
        if !clashes {
            return name.to_owned();
        }
        let text = key.to_string();
        format!("{name}·{}", &text[text.len().saturating_sub(4)..])
    }
}

/// The ticket in a text, without the ends of lines that came in between on a screen.
fn ticket(text: &str) -> Option<String> {
    let text: String = text.split_whitespace().collect();
    text.parse::<DatabaseTicket>().is_ok().then_some(text)
}

#[cfg(test)]
mod tests;
