//! Two newcomers with a terminal each.

use std::process::{Command, Stdio};

use super::screens::{Screen, Screens, can_be_shown};

/// The ticket that a screen shows, put together from its lines as a person copies it.
fn ticket(screen: &Screen<'_>) -> String {
    let text = screen.until("a ticket", |text| text.contains("eidetica:bafy"));
    let lines = text.lines().map(str::trim_end).skip_while(|line| !line.starts_with("eidetica:"));
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The side of a screen, between two of its titles: what stands there.
fn is_here(screen: &Screen<'_>, name: &str) {
    screen.until(&format!("{name} is here"), |text| here(text).contains(name));
}

fn here(text: &str) -> String {
    let side = text.lines().map(|line| line.chars().take(26).collect::<String>());
    let here = side.skip_while(|line| !line.contains(" here ")).take_while(|line| !line.contains(" sync "));
    here.collect::<Vec<_>>().join("\n")
}

fn story(way: &str) {
    if !can_be_shown("the chat in two terminals") {
        return;
    }
    let (screens, home) = (Screens::open(way), tempfile::tempdir().unwrap());
    let store = |name: &str| format!("sqlite:{}", home.path().join(format!("{name}.db")).display());
    let (of_anna, of_ben) = (store("anna"), store("ben"));
    let all = ["--local", "--transport", way];
    let anna = screens.start("anna", &[&all[..], &["--store", &of_anna, "--username", "anna"]].concat());
    let ben = screens.start("ben", &[&all[..], &["--store", &of_ben, "--username", "ben"]].concat());

    // Create, and join by ticket.
    anna.shows("There is no room yet");
    anna.enters("/create garden");
    let ticket = ticket(&anna);
    anna.presses("Escape");
    anna.shows_no_longer("ticket of garden");
    ben.shows("There is no room yet");
    ben.pastes(&ticket);
    ben.presses("Enter");
    ben.shows("asked to join garden");
    ben.shows("garden (waits)");

    // Also when he comes again; and there is no room besides.
    ben.presses("Escape");
    assert_eq!(ben.until_ended(), "0");
    ben.starts_again();
    ben.shows("garden (waits)");
    assert!(!ben.text().contains("the names of rooms"), "{}", ben.text());

    // Approve.
    anna.shows("1. ben (ed25519:");
    anna.enters("/approve 1");
    anna.shows_no_longer("/approve 1 or");
    ben.shows_no_longer("(waits)");
    is_here(&ben, "anna");
    is_here(&anna, "ben");

    // Ten messages each way.
    for number in 1..=10 {
        anna.enters(&format!("anna's number {number}."));
        ben.shows(&format!("anna: anna's number {number}."));
        ben.enters(&format!("ben's number {number}."));
        anna.shows(&format!("ben: ben's number {number}."));
    }
    ben.until("in step", |text| text.contains("in step with 1"));

    // Ben is killed, and Anna goes on.
    ben.is_killed();
    anna.enters("while ben is away");
    anna.pastes("a paste of\ntwo lines, with 東京 and 👍");
    anna.presses("Enter");
    anna.shows("two lines, with 東京 and 👍");

    // Everything is there when he comes back, and he goes on where he was.
    ben.starts_again();
    ben.shows("anna: while ben is away");
    ben.shows("two lines, with 東京 and 👍");
    let text = ben.text();
    for number in 1..=10 {
        assert!(text.contains(&format!("anna: anna's number {number}.")), "{number} of anna is lost:\n{text}");
        assert!(text.contains(&format!("ben: ben's number {number}.")), "{number} of ben is lost:\n{text}");
    }
    ben.enters("I am back");
    anna.shows("ben: I am back");
    is_here(&anna, "ben");
    if std::env::var_os("EIDETICA_SHOW_SCREENS").is_some() {
        println!("{}\n{}", anna.text(), ben.text());
    }

    // In a small window, too.
    ben.has_size(40, 12);
    ben.until("no side", |text| !text.contains(" rooms ") && text.contains("ben: I am back"));
    ben.presses("Escape");
    assert_eq!(ben.until_ended(), "0");
    anna.until("ben has left", |text| !here(text).contains("ben"));
    anna.presses("C-c");
    assert_eq!(anna.until_ended(), "0");
}

#[test]
fn over_iroh() {
    story("iroh");
}

#[test]
fn over_http() {
    story("http");
}

#[test]
fn without_a_terminal_it_says_so() {
    let mut chat = Command::new(env!("CARGO_BIN_EXE_chat"));
    chat.args(["--store", "memory:", "--username", "anna"]);
    let output = chat.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs a terminal"), "{output:?}");
    assert!(output.stdout.is_empty());
}
