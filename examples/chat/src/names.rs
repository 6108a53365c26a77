//! What rooms are called that are not open yet: their tickets have said it, and it is kept for the next time.
//!
//! A database like any other, which is synced with nobody. That also tells it from rooms, all of which are.

use std::collections::BTreeMap;

use eidetica::crdt::Doc;
use eidetica::store::DocStore;
use eidetica::{Database, ErrorKind, Id, Result, User};

use crate::text;

/// The store in which the names lie, each under the id of its room.
const STORE: &str = "names";

pub struct Names {
    database: Database,
    known: BTreeMap<Id, String>,
}

impl Names {
    /// Those of a user, which are made if there are none.
    pub async fn open(user: &mut User) -> Result<Names> {
        let kept = user.databases().await?.into_iter().find(|tracked| !tracked.sync_settings.sync_enabled);
        let database = match kept {
            Some(tracked) => user.open_database(&tracked.database_id).await?,
            None => {
                let key = user.get_default_key()?;
                let settings: Doc = [("name", "the names of rooms")].into_iter().collect();
                let database = user.create_database(settings, &key).await?;
                user.set_sync_enabled(database.root_id(), false).await?;
                database
            }
        };
        let mut known = BTreeMap::new();
        let names = match database.get_store_viewer::<DocStore>(STORE).await {
            Ok(names) => names.get_all().await?,
            Err(error) if error.kind() == ErrorKind::NotFound => Doc::new(),
            Err(error) => return Err(error),
        };
        for (room, name) in names.iter() {
            if let (Ok(room), Some(name)) = (room.parse(), name.as_text()) {
                known.insert(room, text::name(name));
            }
        }
        Ok(Names { database, known })
    }

    pub fn of(&self, room: &Id) -> Option<&String> {
        self.known.get(room)
    }

    /// Whether this is no room, but where the names lie.
    pub fn are_in(&self, database: &Id) -> bool {
        self.database.root_id() == database
    }

    pub async fn keep(&mut self, room: Id, name: String) -> Result<()> {
        if self.known.get(&room) == Some(&name) {
            return Ok(());
        }
        let transaction = self.database.new_transaction().await?;
        transaction.get_store::<DocStore>(STORE).await?.set(&room.to_string(), name.as_str()).await?;
        transaction.commit().await?;
        self.known.insert(room, name);
        Ok(())
    }
}
