//! Where passwords come from: standard input, a file, or the keyboard.

use std::io::{self, BufRead, IsTerminal};

use eidetica::{Error, ErrorKind};
use zeroize::Zeroizing;

use crate::arguments::Who;

/// Names a file whose first line is the password.
const FILE: &str = "EIDETICA_PASSWORD_FILE";

/// The password of a user who has one.
///
/// Errors: `Unauthenticated` if there is nobody to ask.
pub async fn ask(who: &Who, user: &str) -> Result<Zeroizing<String>, Error> {
    let (from_stdin, prompt) = (who.password_stdin, format!("Password of {}: ", crate::text::escaped(user)));
    aside(move || get(from_stdin, &prompt)).await
}

/// A password for a new user: from the keyboard, it is asked for twice.
pub async fn ask_new(who: &Who, user: &str) -> Result<Zeroizing<String>, Error> {
    let first = ask(who, user).await?;
    if who.password_stdin || std::env::var_os(FILE).is_some() {
        return Ok(first);
    }
    let again = aside(|| get(false, "The same again: ")).await?;
    match first == again {
        true => Ok(first),
        false => Err(Error::new(ErrorKind::InvalidInput, "the two passwords differ; nothing was changed")),
    }
}

fn get(from_stdin: bool, prompt: &str) -> Result<Zeroizing<String>, Error> {
    if from_stdin {
        return first_line(io::stdin().lock(), "standard input");
    }
    if let Some(path) = std::env::var_os(FILE) {
        let shown = path.to_string_lossy().into_owned();
        let file = std::fs::File::open(&path).map_err(|error| unreadable(&shown, error))?;
        return first_line(io::BufReader::new(file), &shown);
    }
    if !io::stdin().is_terminal() {
        let message = "this user has a password, and there is no terminal to ask for it; use --password-stdin, or name a \
                       file in EIDETICA_PASSWORD_FILE";
        return Err(Error::new(ErrorKind::Unauthenticated, message).with("reason", "missing_password"));
    }
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| unreadable("the terminal", error))
}

fn first_line(mut input: impl BufRead, from: &str) -> Result<Zeroizing<String>, Error> {
    let mut line = Zeroizing::new(String::new());
    input.read_line(&mut line).map_err(|error| unreadable(from, error))?;
    let end = line.trim_end_matches('\n').trim_end_matches('\r').len();
    line.truncate(end);
    Ok(line)
}

fn unreadable(from: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the password cannot be read").with("from", from).caused_by(error)
}

/// On a thread that may wait for a person.
async fn aside(
    work: impl FnOnce() -> Result<Zeroizing<String>, Error> + Send + 'static,
) -> Result<Zeroizing<String>, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorKind::Internal, "reading a password has ended early").caused_by(error))?
}
