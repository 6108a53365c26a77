use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::view::draw;

fn key(number: u8) -> PublicKey {
    eidetica::SecretKey::from_seed(&[number; 32]).public()
}

fn id(name: &str) -> Id {
    Id::of(name.as_bytes())
}

fn app() -> App {
    let mut app = App::new("anna".into(), key(1));
    let room =
        |name: &str, waits: Option<&str>| Room { id: id(name), name: name.into(), waits: waits.map(str::to_owned) };
    app.hear(Update::Rooms(vec![
        room("garden", None),
        room("kitchen", None),
        room("loft", Some("an admin has to decide")),
    ]));
    app
}

fn message(number: u64, author: u8, name: &str, text: &str) -> Message {
    let entry = Id::of(&number.to_be_bytes());
    Message {
        entry,
        author: key(author),
        name: name.into(),
        text: crate::text::harmless(text),
        millis: number * 60_000,
    }
}

fn press(app: &mut App, code: KeyCode, modifiers: KeyModifiers) -> Vec<Command> {
    app.take(&Event::Key(KeyEvent::new(code, modifiers)), Instant::now())
}

fn type_in(app: &mut App, text: &str) {
    for char in text.chars() {
        press(app, KeyCode::Char(char), KeyModifiers::NONE);
    }
}

fn enter(app: &mut App, text: &str) -> Vec<Command> {
    type_in(app, text);
    let commands = press(app, KeyCode::Enter, KeyModifiers::NONE);
    commands.into_iter().filter(|command| !matches!(command, Command::Typing(..))).collect()
}

/// What the screen shows, row by row.
fn screen(app: &App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(row).collect()
}

fn shows(app: &App, text: &str) -> bool {
    screen(app, 100, 30).iter().any(|row| row.contains(text))
}

#[test]
fn every_key_can_be_typed_and_two_quit() {
    let mut app = app();
    let all: String = (' '..='~').chain("äß€東👍".chars()).collect();
    type_in(&mut app, &all);
    assert_eq!(app.line.text(), all);
    // As some terminals tell what is typed with Alt Gr.
    press(&mut app, KeyCode::Char('@'), KeyModifiers::CONTROL | KeyModifiers::ALT);
    press(&mut app, KeyCode::Char('Q'), KeyModifiers::SHIFT);
    assert!(app.line.text().ends_with("@Q") && !app.quits);
    app.panel = Some(Panel::Help);
    press(&mut app, KeyCode::Esc, KeyModifiers::NONE);
    assert!(app.panel.is_none() && !app.quits);
    press(&mut app, KeyCode::Esc, KeyModifiers::NONE);
    assert!(app.quits);
    app.quits = false;
    press(&mut app, KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(app.quits);
}

#[test]
fn what_is_entered_is_said_or_done() {
    let mut app = app();
    let garden = id("garden");
    assert_eq!(enter(&mut app, "hello"), [Command::Say(garden, "hello".into())]);
    assert_eq!(enter(&mut app, "//slash"), [Command::Say(garden, "/slash".into())]);
    assert_eq!(enter(&mut app, "/create  a room "), [Command::Create("a room".into())]);
    let ticket = DatabaseTicket::new(garden).to_string();
    assert_eq!(enter(&mut app, &ticket), [Command::Join(ticket.clone())]);
    app.take(&Event::Paste(format!("{}\n  {}\n", &ticket[..40], &ticket[40..])), Instant::now());
    assert_eq!(enter(&mut app, ""), [Command::Join(ticket.clone())]);
    assert_eq!(enter(&mut app, &format!("/join {ticket}")), [Command::Join(ticket)]);
    assert_eq!(enter(&mut app, "eidetica: a database"), [Command::Say(garden, "eidetica: a database".into())]);
    assert_eq!(enter(&mut app, "/share"), [Command::Share(garden)]);
    assert_eq!(enter(&mut app, "   "), []);
    for wrong in ["/create", "/join", "/join eidetica:x", "/approve", "/approve 7", "/nothing", "/"] {
        let before = app.notices.len();
        assert_eq!(enter(&mut app, wrong), [], "{wrong}");
        assert_eq!(app.notices.len(), before + 1, "{wrong}");
    }
    // A paste of several lines is one message.
    app.take(&Event::Paste("one\ntwo\n".into()), Instant::now());
    assert_eq!(enter(&mut app, ""), [Command::Say(garden, "one\ntwo".into())]);
    // Where nothing can be said, nothing is lost.
    press(&mut app, KeyCode::BackTab, KeyModifiers::NONE);
    assert_eq!(app.looked_at, Some(id("loft")));
    assert_eq!(enter(&mut app, "too early"), []);
    assert_eq!(app.line.text(), "too early");
    let mut rooms = app.rooms.clone();
    rooms[2].waits = None;
    app.hear(Update::Rooms(rooms));
    assert_eq!(app.notices.last().unwrap(), "loft is open to you now");
    assert_eq!(enter(&mut app, ""), [Command::Say(id("loft"), "too early".into())]);
}

#[test]
fn typing_is_told_once_and_taken_back() {
    let (mut app, now) = (app(), Instant::now());
    let garden = id("garden");
    let h = Event::Key(KeyEvent::new(KeyCode::Char('h'), KeyModifiers::NONE));
    assert_eq!(app.take(&h, now), [Command::Typing(garden, true)]);
    assert_eq!(app.take(&h, now), []);
    assert_eq!(app.tick(now + TYPING / 2), []);
    assert_eq!(app.tick(now + TYPING), [Command::Typing(garden, false)]);
    assert_eq!(app.tick(now + TYPING), []);
}

#[test]
fn requests_are_shown_and_decided() {
    let mut app = app();
    let request = |text: &str| text.parse().unwrap();
    let asked = |number: &str, name: &str| Asked {
        request: request(&number.repeat(32)),
        room: id("garden"),
        name: name.into(),
        key: key(2),
        permission: "write".into(),
    };
    app.hear(Update::Requests(vec![asked("a", "ben")]));
    assert!(shows(&app, "1. ben (ed25519:"), "{:#?}", screen(&app, 100, 30));
    assert!(shows(&app, "asks to write in garden: /approve 1 or /reject 1"));
    assert_eq!(enter(&mut app, "/approve"), [Command::Approve(request(&"a".repeat(32)))]);
    app.hear(Update::Requests(vec![asked("a", "ben"), asked("b", "cleo")]));
    assert_eq!(enter(&mut app, "/approve"), []);
    assert_eq!(enter(&mut app, "/reject 2"), [Command::Reject(request(&"b".repeat(32)))]);
}

#[test]
fn two_of_one_name_are_told_apart() {
    let mut app = app();
    let garden = id("garden");
    app.hear(Update::History(garden, vec![message(1, 1, "anna", "mine"), message(2, 2, "ben", "his")]));
    assert!(shows(&app, "anna: mine") && shows(&app, "ben: his"));
    app.hear(Update::Said(garden, vec![message(3, 3, "ben", "another's"), message(4, 4, "anna", "not mine")]));
    let ends = [(1, "anna", "mine"), (2, "ben", "his"), (3, "ben", "another's"), (4, "anna", "not mine")];
    for (number, name, text) in ends {
        let key = key(number).to_string();
        let shown = format!("{name}·{}: {text}", &key[key.len() - 4..]);
        assert!(shows(&app, &shown), "{shown} in {:#?}", screen(&app, 100, 30));
    }
}

#[test]
fn messages_come_once_and_in_their_order_and_others_are_counted() {
    let mut app = app();
    let (garden, kitchen) = (id("garden"), id("kitchen"));
    app.hear(Update::Said(garden, vec![message(2, 2, "ben", "second")]));
    app.hear(Update::Said(garden, vec![message(2, 2, "ben", "second")]));
    app.hear(Update::Said(garden, vec![message(1, 2, "ben", "first")]));
    let rows = screen(&app, 100, 30);
    let at = |text: &str| rows.iter().filter(|row| row.contains(text)).count();
    assert_eq!((at("first"), at("second")), (1, 1));
    let place = |text: &str| rows.iter().position(|row| row.contains(text));
    assert!(place("first") < place("second"));
    app.hear(Update::Said(kitchen, vec![message(3, 2, "ben", "elsewhere")]));
    assert!(shows(&app, "kitchen (1)") && !shows(&app, "elsewhere"));
    press(&mut app, KeyCode::Tab, KeyModifiers::NONE);
    assert!(!shows(&app, "kitchen (1)") && shows(&app, "elsewhere"));
    let many = (0..2 * SHOWN as u64).map(|number| message(number, 2, "ben", &format!("number {number}."))).collect();
    app.hear(Update::Said(kitchen, many));
    assert_eq!(app.inside[&kitchen].messages.len(), SHOWN);
    assert!(shows(&app, &format!("number {}.", 2 * SHOWN - 1)));
    (0..5000).for_each(|_| drop(press(&mut app, KeyCode::PageUp, KeyModifiers::NONE)));
    assert!(shows(&app, &format!("number {SHOWN}.")), "scrolled to the oldest that is shown");
}

#[test]
fn nothing_that_others_say_controls_the_terminal_and_no_size_is_too_small() {
    let mut app = app();
    let garden = id("garden");
    let evil = "\x1b[2J\x1b]0;title\x07\u{9b}31m\r\u{202e}";
    let name = crate::text::name(evil);
    app.hear(Update::History(garden, vec![message(1, 2, &name, evil), message(2, 3, "東京👨‍👩‍👧", &"長い".repeat(300))]));
    let person = Person { device: key(5), key: key(5), name: name.clone(), typing: true };
    app.hear(Update::People(garden, vec![person]));
    app.hear(Update::Notice(crate::text::one_line(evil, 80)));
    app.take(&Event::Paste(evil.into()), Instant::now());
    let code = Some("█▀\n▀█".to_owned());
    for panel in [None, Some(Panel::Help), Some(Panel::Ticket { room: name, ticket: "eidetica:x".repeat(40), code })] {
        app.panel = panel;
        for (width, height) in [(100, 30), (61, 8), (40, 12), (20, 5), (5, 3), (1, 1), (200, 1), (1, 60)] {
            for row in screen(&app, width, height) {
                assert!(!row.chars().any(|char| char.is_control() || char == '\u{202e}'), "{row:?}");
            }
        }
    }
}

#[test]
fn a_room_that_is_entered_does_not_take_a_line_that_is_being_typed() {
    let mut app = app();
    type_in(&mut app, "for the garden");
    app.hear(Update::Entered(id("kitchen")));
    assert!(screen(&app, 100, 24).iter().any(|row| row.contains("kitchen is among your rooms now")));
    let sent = press(&mut app, KeyCode::Enter, KeyModifiers::NONE);
    let said = |command: &Command| matches!(command, Command::Say(room, text) if *room == id("garden") && text == "for the garden");
    assert!(sent.iter().any(said), "{sent:?}");
    // With nothing typed it is gone to.
    app.hear(Update::Entered(id("kitchen")));
    assert!(matches!(&enter(&mut app, "hello")[..], [Command::Say(room, _)] if *room == id("kitchen")));
}
