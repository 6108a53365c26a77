//! Users: `user add`, `user list`.

use crate::arguments::{UserCommand, Who};
use crate::failure::Failure;
use crate::output::Output;
use crate::password;
use crate::session::Session;

/// Runs a command about users.
pub async fn run(session: &Session, command: &UserCommand, who: &Who, output: &mut Output) -> Result<(), Failure> {
    match command {
        UserCommand::Add { name, password } => add(session, name, *password, who, output).await,
        UserCommand::Login { name } => login(session, name, output).await,
        UserCommand::List => list(session, output).await,
    }
}

async fn add(session: &Session, name: &str, asks: bool, who: &Who, output: &mut Output) -> Result<(), Failure> {
    let password = match asks || who.password_stdin {
        true => Some(password::ask_new(who, name).await?),
        false => None,
    };
    session.instance.create_user(name, password.as_ref().map(|password| password.as_str())).await?;
    let with = if password.is_some() { "with" } else { "without" };
    let text = format!("made the user {} {with} a password", crate::text::escaped(name));
    output.say(&text, || serde_json::json!({ "user": name, "password": password.is_some() }))
}

/// Lets a user in, which also signs what this device needs to sync for them while they are away.
async fn login(session: &Session, name: &str, output: &mut Output) -> Result<(), Failure> {
    let user = session.log_in_as(name).await?;
    let (key, keys) = (user.get_default_key()?.to_string(), user.list_keys().await?.len());
    let databases = user.databases().await?.len();
    let shown = crate::text::escaped(name);
    let text = format!("let in {shown}, who writes with {key}; {keys} keys, {databases} databases");
    output.say(&text, || serde_json::json!({ "user": name, "key": key, "keys": keys, "databases": databases }))
}

async fn list(session: &Session, output: &mut Output) -> Result<(), Failure> {
    let users = session.instance.list_users().await?;
    if output.json {
        return users.iter().try_for_each(|user| output.document(&serde_json::json!({ "user": user })));
    }
    let lines: Vec<Vec<String>> = users.into_iter().map(|user| vec![user]).collect();
    output.table(&["user".to_owned()], &lines)
}
