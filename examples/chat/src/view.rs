//! How it looks.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};
use unicode_width::UnicodeWidthStr;

use crate::app::{App, Inside, Panel};
use crate::text::{cut, wrapped};

/// With less columns the messages have them all.
const NARROW: u16 = 60;
/// The columns of the side.
const SIDE: u16 = 26;
const FAINT: Style = Style::new().fg(Color::DarkGray);
const MARKED: Style = Style::new().fg(Color::Yellow);

const HELP: &str = "\
/create NAME     make a room
/share           show the ticket of this room, for others to join
/join TICKET     join a room; a pasted ticket alone does it, too
/approve [N]     let in who asks for access
/reject [N]      say no
//TEXT           say something that begins with a stroke
/quit            quit; Esc and Ctrl-C do it, too

Tab, Shift-Tab   other rooms
Up, Down, PgUp, PgDn   older and newer messages

What you say is signed with your key, and kept on this device and on
those of all who are in the room. Nobody has to be online for it.";

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let rows = [Constraint::Min(1), Constraint::Length(asked_rows(app)), Constraint::Length(1), Constraint::Length(3)];
    let [top, asked, notice, input] = Layout::vertical(rows).areas(frame.area());
    let side = if top.width < NARROW { 0 } else { SIDE };
    let [side, room] = Layout::horizontal([Constraint::Length(side), Constraint::Min(1)]).areas(top);
    if side.width > 0 {
        draw_side(frame, app, side);
    }
    draw_room(frame, app, room);
    draw_asked(frame, app, asked);
    let last = app.notices.last().map_or("", String::as_str);
    frame.render_widget(Span::styled(cut(last, notice.width.into()), MARKED), notice);
    draw_input(frame, app, input);
    if let Some(panel) = &app.panel {
        let above = Rect { height: frame.area().height.saturating_sub(input.height), ..frame.area() };
        draw_panel(frame, panel, above);
    }
}

fn draw_side(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let inside = app.looked_at.and_then(|id| app.inside.get(&id));
    let people = inside.map_or(0, |inside| inside.people.len()) + 1;
    let here = u16::try_from(people + 2).unwrap_or(u16::MAX).min(area.height / 2);
    let rows = [Constraint::Min(3), Constraint::Length(here), Constraint::Length(3)];
    let [rooms, here, sync] = Layout::vertical(rows).areas(area);
    let width = usize::from(area.width.saturating_sub(2));

    let list = app.rooms.iter().map(|room| {
        let unread = app.inside.get(&room.id).map_or(0, |inside| inside.unread);
        let end = match (&room.waits, unread) {
            (Some(_), _) => " (waits)".to_owned(),
            (None, 0) => String::new(),
            (None, unread) => format!(" ({unread})"),
        };
        let chosen = Some(room.id) == app.looked_at;
        let text =
            format!("{} {}", if chosen { '>' } else { ' ' }, cut(&room.name, width.saturating_sub(2 + end.width())));
        let style = if chosen { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
        Row::from(vec![Span::styled(text, style), Span::styled(end, MARKED)])
    });
    frame.render_widget(Paragraph::new(list.collect::<Vec<_>>()).block(Block::bordered().title(" rooms ")), rooms);

    let mut list = vec![Row::from(cut(&format!("{} (you)", app.name), width))];
    if let (Some(inside), Some(id)) = (inside, app.looked_at) {
        list.extend(inside.people.iter().map(|person| {
            let typing = if person.typing { " types …" } else { "" };
            let name = app.called(&id, &person.name, &person.key);
            Row::from(vec![Span::raw(cut(&name, width.saturating_sub(typing.width()))), Span::styled(typing, FAINT)])
        }));
    }
    frame.render_widget(Paragraph::new(list).block(Block::bordered().title(" here ")), here);
    let state = inside.map_or("", |inside| inside.sync.as_str());
    frame.render_widget(Paragraph::new(cut(state, width)).block(Block::bordered().title(" sync ")), sync);
}

fn draw_room(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let room = app.rooms.iter().find(|room| Some(room.id) == app.looked_at);
    let title = room.map_or(" no room ".to_owned(), |room| format!(" {} ", room.name));
    let block = Block::bordered().title(cut(&title, area.width.saturating_sub(2).into()));
    let within = block.inner(area);
    frame.render_widget(block, area);
    let (width, height) = (usize::from(within.width), usize::from(within.height));
    let mut lines = Vec::new();
    match (room, room.and_then(|room| app.inside.get(&room.id))) {
        (None, _) => lines.extend(
            wrapped("There is no room yet. /create NAME makes one; paste a ticket to join one.", width)
                .into_iter()
                .map(Row::from),
        ),
        (Some(room), inside) => {
            if let Some(inside) = inside {
                lines.extend(messages(app, &room.id, inside, width));
            }
            if let Some(why) = &room.waits {
                lines.extend(wrapped(why, width).into_iter().map(|line| Row::styled(line, FAINT)));
            }
        }
    }
    let most = lines.len().saturating_sub(height);
    let end = lines.len() - app.scrolled.min(most);
    let shown = lines[end.saturating_sub(height)..end].to_vec();
    frame.render_widget(Paragraph::new(shown), within);
}

/// The lines of all messages, the oldest first.
fn messages<'a>(app: &App, room: &eidetica::Id, inside: &Inside, width: usize) -> Vec<Row<'a>> {
    let mut lines = Vec::new();
    for message in &inside.messages {
        let name = app.called(room, &message.name, &message.author);
        let time = clock(message.millis);
        let indent = time.width() + 1;
        let own = message.author == app.key;
        let color = if own { Color::Green } else { Color::Cyan };
        let said = format!("{name}: {}", message.text);
        for (number, line) in wrapped(&said, width.saturating_sub(indent)).into_iter().enumerate() {
            let mut spans = vec![match number {
                0 => Span::styled(format!("{time} "), FAINT),
                _ => Span::raw(" ".repeat(indent)),
            }];
            // The name is on the first line as far as it fits.
            match line.strip_prefix(name.as_str()).filter(|_| number == 0) {
                Some(rest) => {
                    spans.extend([Span::styled(name.clone(), Style::new().fg(color)), Span::raw(rest.to_owned())])
                }
                None => spans.push(Span::raw(line)),
            }
            lines.push(Row::from(spans));
        }
    }
    lines
}

/// Hours and minutes of a day, with the mark of UTC: the time zone of this machine is not known to this program.
fn clock(millis: u64) -> String {
    let minutes = millis / 60_000 % (24 * 60);
    format!("{:02}:{:02}Z", minutes / 60, minutes % 60)
}

fn asked_rows(app: &App) -> u16 {
    u16::try_from(app.requests.len()).unwrap_or(u16::MAX).min(4)
}

fn draw_asked(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let list = app.requests.iter().enumerate().map(|(number, asked)| {
        let room = app.rooms.iter().find(|room| room.id == asked.room).map_or("a room", |room| &room.name);
        let key = asked.key.to_string();
        let number = number + 1;
        let text = format!(
            "{number}. {} ({}…) asks to {} in {room}: /approve {number} or /reject {number}",
            asked.name,
            &key[..key.len().min(16)],
            asked.permission
        );
        Row::styled(cut(&text, area.width.into()), MARKED)
    });
    frame.render_widget(Paragraph::new(list.collect::<Vec<_>>()), area);
}

fn draw_input(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let help = " Enter sends · Tab other room · /help · Esc quits ";
    let block = Block::bordered().title_bottom(cut(help, area.width.saturating_sub(2).into()));
    let within = block.inner(area);
    frame.render_widget(block, area);
    if within.width == 0 || within.height == 0 {
        return;
    }
    let (text, cursor) = app.line.shown(within.width.into());
    frame.render_widget(Span::raw(text), within);
    frame.set_cursor_position(Position::new(within.x + cursor as u16, within.y));
}

fn draw_panel(frame: &mut Frame<'_>, panel: &Panel, area: Rect) {
    let width = usize::from(area.width);
    let (title, mut lines) = match panel {
        Panel::Help => (" help · Esc closes ".to_owned(), wrapped(HELP, width)),
        Panel::Ticket { room, ticket, .. } => {
            let mut lines = wrapped("Whoever gets this ticket may ask to join. Copy it, or scan it:", width);
            lines.push(String::new());
            // Without anything beside it, so that it can be copied as it stands.
            lines.extend(wrapped(ticket, width));
            lines.push(String::new());
            (format!(" ticket of {room} · Esc closes "), lines)
        }
    };
    if let Panel::Ticket { code, .. } = panel {
        let code: Vec<&str> = code.iter().flat_map(|code| code.lines()).collect();
        let fits =
            code.len() + lines.len() + 2 <= usize::from(area.height) && code.iter().all(|line| line.width() <= width);
        match fits && !code.is_empty() {
            true => lines.extend(code.into_iter().map(str::to_owned)),
            false => lines.push("(for the code to scan the window is too small)".to_owned()),
        }
    }
    frame.render_widget(Clear, area);
    let lines: Vec<Row<'_>> = lines.into_iter().map(Row::from).collect();
    let title = cut(&title, width);
    let block = Block::new().borders(Borders::TOP | Borders::BOTTOM).title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
