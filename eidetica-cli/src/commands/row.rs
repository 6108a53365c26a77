//! One row: `get`, `set`, `delete`.

use eidetica::crdt::Doc;
use eidetica::store::Table;
use eidetica::{Error, ErrorKind, View};

use crate::arguments::{GetRow, Set};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::snapshot::short;
use crate::{names, text, typed};

/// Shows a row: a field on each line; or the value of one field as it is.
pub async fn get(view: &View, get: &GetRow, output: &mut Output) -> Result<(), Failure> {
    let table = view.get_store_viewer::<Table<Doc>>(&get.table).await?;
    let row = table.get(&get.key).await.map_err(|error| error.with("table", &get.table))?;
    if let Some(field) = &get.field {
        let value = row.get(field).ok_or_else(|| {
            let message = "the row has no such field; see `there_are` for those it has";
            let fields: Vec<&str> = row.keys().collect();
            let error = Error::new(ErrorKind::NotFound, message).with("field", field).with("key", &get.key);
            error.with("there_are", fields.join(", "))
        })?;
        let shown = typed::shown(value);
        // A text that goes to a program is left as it is; on a terminal it must do no harm.
        let shown = if output.aligns() { text::escaped(&shown).into_owned() } else { shown };
        return output.say(&shown, || value.to_json());
    }
    if output.json {
        return output.document(&serde_json::json!({ "key": get.key, "fields": row.to_json() }));
    }
    let fields: Vec<Vec<String>> = row
        .iter()
        .map(|(name, value)| vec![name.to_owned(), typed::shown(value), value.type_name().to_owned()])
        .collect();
    output.table(&["field", "value", "type"].map(str::to_owned), &fields)
}

/// Changes fields of a row, or makes it.
pub async fn set(session: &Session, set: &Set, output: &mut Output) -> Result<(), Failure> {
    let mut fields = Doc::new();
    for typed::Assignment(field, value) in &set.fields {
        if fields.get(field).is_some() {
            let message = "the field stands twice on the command line; leave one of them out";
            return Err(Failure::Usage(Error::new(ErrorKind::InvalidInput, message).with("field", field)));
        }
        fields.set(field.as_str(), value.clone());
    }
    if set.key.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "the key of a row must not be empty").into());
    }
    let database = session.write(&names::find(session, &set.database).await?).await?;
    let transaction = database.new_transaction().await?;
    let table = transaction.get_store::<Table<Doc>>(&set.table).await?;
    let made = !table.contains_key(&set.key).await?;
    // Whoever writes here has decided.
    table.resolve(&set.key, &fields).await?;
    let committed = transaction.commit_with(eidetica::Durability::Flushed).await?;
    let what = match (committed.written, made) {
        (false, _) => "nothing to change in",
        (true, true) => "made",
        (true, false) => "changed",
    };
    let text = format!("{what} {} of {}, entry {}", text::escaped(&set.key), set.table, short(&committed.id));
    output.say(
        &text,
        || serde_json::json!({ "written": committed.written, "made": made, "entry": committed.id.to_string() }),
    )
}

/// Deletes rows, all or none.
pub async fn delete(
    session: &Session,
    database: &str,
    name: &str,
    keys: &[String],
    output: &mut Output,
) -> Result<(), Failure> {
    let database = session.write(&names::find(session, database).await?).await?;
    let transaction = database.new_transaction().await?;
    let table = transaction.get_store::<Table<Doc>>(name).await?;
    for key in keys {
        if !table.delete(key).await? {
            let message = "the table has no row with this key; nothing was deleted";
            return Err(Error::new(ErrorKind::NotFound, message).with("key", key).with("table", name).into());
        }
    }
    let entry = transaction.commit().await?;
    let text = format!("deleted {} of {name}, entry {}", keys.len(), short(&entry));
    output.say(&text, || serde_json::json!({ "deleted": keys.len(), "entry": entry.to_string() }))
}
