//! Messages: rows of a table, each shown as the word of who has signed its entry, whatever else it says.

use eidetica::store::Table;
use eidetica::store::table::{RowAction, TableDelta};
use eidetica::{Database, Id, LogEntry, PublicKey, Result};
use serde::{Deserialize, Serialize};

use crate::text;

/// The store of a room in which its messages lie.
const STORE: &str = "messages";
/// How many messages are shown of what there is.
pub const SHOWN: usize = 500;
/// How many entries are read at once.
const PAGE: usize = 256;

/// A message as it lies in the table.
#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    text: String,
}

/// A message as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The entry that brought it.
    pub entry: Id,
    /// Whose key has signed it. Nobody can say something in the name of another.
    pub author: PublicKey,
    /// How the author calls himself; others may do so, too.
    pub name: String,
    pub text: String,
    /// When, in milliseconds since 1970, by the clock of the author.
    pub millis: u64,
}

/// Says something in a room.
pub async fn say(room: &Database, name: &str, text: &str) -> Result<()> {
    let transaction = room.new_transaction().await?;
    let messages = transaction.get_store::<Table<Row>>(STORE).await?;
    messages.insert(&Row { name: name.to_owned(), text: text.to_owned() }).await?;
    transaction.commit().await.map(drop)
}

/// The messages that an entry has brought. What others have made of a row later does not count.
pub async fn of_entry(room: &Database, log: &LogEntry) -> Result<Vec<Message>> {
    let mut found = Vec::new();
    if log.void || !log.stores.iter().any(|(name, kind)| name == STORE && kind == eidetica::store::table::KIND) {
        return Ok(found);
    }
    let entry = room.get_entry(&log.id).await?;
    let then = room.at_heads(&[log.id]).await?.get_store_viewer::<Table<Row>>(STORE).await?;
    for (store, body) in entry.deltas().filter(|(store, _)| store.name == STORE) {
        let Some(delta) =
            body.as_ref().filter(|_| store.kind == eidetica::store::table::KIND).and_then(TableDelta::parse)
        else {
            continue;
        };
        for (key, action) in delta.0 {
            if !matches!(action, RowAction::Insert(_)) {
                continue;
            }
            // A row of another form is none of this program.
            let Ok(row) = then.get(&key).await else { continue };
            found.push(Message {
                entry: log.id,
                author: log.author,
                name: text::name(&row.name),
                text: text::harmless(&row.text),
                millis: log.time.millis(),
            });
        }
    }
    Ok(found)
}

/// The latest messages of a room, in no order.
pub async fn latest(room: &Database) -> Result<Vec<Message>> {
    let (mut found, mut before) = (Vec::new(), None);
    while found.len() < SHOWN {
        let page = room.log(before, PAGE).await?;
        let Some(last) = page.last() else { break };
        before = Some(last.number);
        for log in &page {
            found.extend(of_entry(room, log).await?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use eidetica::Instance;
    use eidetica::crdt::Doc;

    use super::*;

    #[tokio::test]
    async fn a_message_is_the_word_of_who_has_signed_it() {
        let instance = Instance::open_url("memory:").await.unwrap();
        let (anna, ben) = (instance.generate_key().unwrap(), instance.generate_key().unwrap());
        let room = instance.create_database_with_key(Doc::new(), &anna).await.unwrap();
        let transaction = room.new_transaction().await.unwrap();
        let settings = transaction.get_store::<eidetica::store::SettingsStore>("_settings").await.unwrap();
        settings.set_auth_key(&ben.public(), eidetica::auth::Permission::Write, 0).await.unwrap();
        transaction.commit().await.unwrap();
        say(&room, "anna", "hello\x1b[2J").await.unwrap();

        // Ben calls himself Anna, and changes what she has said.
        let of_ben = room.with_key(Some(ben.clone()));
        say(&of_ben, "anna", "I am Anna").await.unwrap();
        let transaction = of_ben.new_transaction().await.unwrap();
        let messages = transaction.get_store::<Table<Row>>(STORE).await.unwrap();
        let (key, _) = messages.search(|row| row.text.starts_with("hello")).await.unwrap().remove(0);
        messages.update(&key, |row| row.text = "changed".into()).await.unwrap();
        transaction.commit().await.unwrap();

        let mut shown = latest(&room).await.unwrap();
        shown.sort_by_key(|message| message.millis);
        shown.sort_by_key(|message| message.author != anna.public());
        let shown: Vec<_> = shown.iter().map(|message| (message.author, message.text.as_str())).collect();
        assert_eq!(shown, [(anna.public(), "hello\u{fffd}[2J"), (ben.public(), "I am Anna")]);
        instance.close().await.unwrap();
    }
}
