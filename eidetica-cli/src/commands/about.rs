//! What there is: `list`, `info`.

use eidetica::Id;

use crate::failure::Failure;
use crate::names;
use crate::output::Output;
use crate::session::Session;
use crate::snapshot::short;

/// Lists the databases.
pub async fn list(session: &Session, output: &mut Output) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for named in names::all(session).await? {
        let entries = async { session.read(&named.id).await?.entry_count().await };
        // One that cannot be opened must not hide the others, nor be hidden itself.
        let entries = match entries.await {
            Err(error) if !names::concerns_one(&error) => return Err(error.into()),
            entries => entries,
        };
        if output.json {
            let mut shown = serde_json::json!({ "name": named.name, "id": named.id.to_string() });
            match entries {
                Ok(entries) => shown["entries"] = entries.into(),
                Err(error) => shown["error"] = crate::failure::document(&error),
            }
            output.document(&shown)?;
        } else {
            let id = if output.aligns() { short(&named.id) } else { named.id.to_string() };
            let entries = entries.map_or_else(|error| format!("cannot be opened: {error}"), |count| count.to_string());
            lines.push(vec![named.name, id, entries]);
        }
    }
    if output.json {
        return Ok(());
    }
    output.table(&["name", "id", "entries"].map(str::to_owned), &lines)
}

/// Tells about the store.
pub async fn store(session: &Session, output: &mut Output) -> Result<(), Failure> {
    let info = session.instance.backend_info();
    let databases = session.instance.databases().await?.len();
    let author = session.author().await?.map(|key| key.to_string());
    let (device, users) = (session.instance.device_id().to_string(), session.instance.list_users().await?);
    // Left from an older version, if there is one.
    let key_file = session.key_file().filter(|file| file.path().exists()).map(|file| file.path().display().to_string());
    let durable = info.capabilities.durable;
    if output.json {
        return output.document(&serde_json::json!({
            "store": session.url, "location": info.location, "durable": durable, "databases": databases,
            "author": author, "device": device, "users": users, "key_file": key_file,
        }));
    }
    let none = || "none yet, or behind a password".to_owned();
    let mut about = vec![
        ("store", session.url.clone()),
        ("databases", databases.to_string()),
        ("device", device),
        ("users", users.join(", ")),
        ("author", author.unwrap_or_else(none)),
    ];
    if let Some(file) = key_file {
        about.push(("old key file", format!("{file}; after the first change the store has its key, too")));
    }
    lines(output, &about)
}

/// Tells about a database.
pub async fn database(session: &Session, name: &str, output: &mut Output) -> Result<(), Failure> {
    let id: Id = names::find(session, name).await?;
    let database = session.read(&id).await?;
    let stores = database.stores().await?;
    let (entries, tips) = (database.entry_count().await?, database.get_tips().await?);
    let left_out = database.left_out().await?;
    let right = match session.author_of(&id).await? {
        Some(key) => format!("{:?}", database.now().right_of(key).await?),
        None => "none".to_owned(),
    };
    if output.json {
        let tips: Vec<String> = tips.iter().map(ToString::to_string).collect();
        let stores: Vec<_> = stores
            .iter()
            .map(|store| {
                serde_json::json!({
                    "name": store.name, "kind": store.kind, "known": store.known, "partial": store.partial,
                    "indexes": store.indexes,
                })
            })
            .collect();
        return output.document(&serde_json::json!({
            "name": name, "id": id.to_string(), "entries": entries, "heads": tips, "right": right, "stores": stores,
            "left_out": left_out.iter().map(|(head, void)| serde_json::json!({ "head": head.to_string(), "void": void })).collect::<Vec<_>>(),
        }));
    }
    let tips: Vec<String> = tips.iter().map(short).collect();
    let mut about = vec![
        ("name", name.to_owned()),
        ("id", id.to_string()),
        ("entries", entries.to_string()),
        ("heads", tips.join(", ")),
        ("right of this store", right),
    ];
    for (head, void) in left_out {
        about.push(("left out", format!("{}, which would bring {void} entries that do not count", short(&head))));
    }
    for store in &stores {
        let mut text = format!("{} ({})", store.name, store.kind);
        if !store.indexes.is_empty() {
            text.push_str(&format!(", indexes: {}", store.indexes.join(", ")));
        }
        if !store.known {
            text.push_str(", of a kind that is not known here");
        }
        if store.partial {
            text.push_str(", NOT WHOLE: entries lack what they wrote to it; see `verify`");
        }
        about.push(("store", text));
    }
    lines(output, &about)
}

/// Names and values, one on each line, uncut.
fn lines(output: &mut Output, lines: &[(&str, String)]) -> Result<(), Failure> {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().try_for_each(|(name, value)| output.line(&format!("{name:width$}  {}", crate::text::escaped(value))))
}
