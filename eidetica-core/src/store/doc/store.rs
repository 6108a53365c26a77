//! The document store, as an application sees it.

use eidetica_contract::{Error, ErrorKind, Result};

use super::delta::{Action, DocDelta, Plain};
use super::path::{ElementName, Path, Step};
use super::position;
use super::stage::{DocView, shown_alone};
use crate::db::Touched;
use crate::doc::Doc;
use crate::error::invalid;
use crate::id::Id;
use crate::store::handle::{StoreHandle, StoreType};
use crate::store::stage::DocStage;
use crate::store::stamp::Stamp;
use crate::value::Value;

/// A nested document whose keys, list elements and counters merge one by one.
///
/// Of values that were written concurrently at one path the one with the greatest `(time, id)` shows; the others stay
/// readable as [`conflicts`](DocStore::conflicts) until somebody writes there again. A deletion takes what it has seen,
/// so a concurrent write survives it.
///
/// # Errors and cancellation
///
/// What a method says of its errors is what is special about it. Besides, every `async` method answers
/// [`ErrorKind::Closed`] once the store is closed, [`ErrorKind::Corrupted`] for records that cannot be read, and the errors
/// of the backend. A method that changes something stages it in the transaction: it answers [`ErrorKind::ReadOnly`] outside
/// one and [`ErrorKind::Closed`] after its commit. When a future is dropped, a change is staged whole or not at all, and a
/// read has changed nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eidetica_contract::Result<()> {
/// # use eidetica_core::{Engine, Memory, Options, SecretKey, SystemEnvironment, crdt::Doc};
/// # let engine = Engine::open(Box::new(Memory::new()), Options::default()).await?;
/// # let key = SecretKey::generate(&SystemEnvironment)?;
/// # let database = engine.create_database(Doc::new(), &key).await?;
/// use eidetica_core::crdt::Value;
/// use eidetica_core::store::DocStore;
///
/// let transaction = database.new_transaction().await?;
/// let house = transaction.get_store::<DocStore>("house").await?;
/// house.set("street", "Long Lane").await?;
/// house.set_path("rooms.kitchen.lamps", 2).await?;
/// house.list_push("guests", "Ida").await?;
/// house.increment("visits", 1).await?;
/// transaction.commit().await?;
///
/// let house = database.get_store_viewer::<DocStore>("house").await?;
/// assert_eq!(house.get_path("rooms.kitchen.lamps").await?, Value::Int(2));
/// assert_eq!(house.get("visits").await?, Value::Counter(1));
/// # engine.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct DocStore {
    pub(super) handle: StoreHandle,
}

/// A live value that does not show, because a stronger one does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Conflict {
    /// The entry that wrote it.
    pub entry: Id,
    /// The value.
    pub value: Value,
}

impl StoreType for DocStore {
    const KIND: &'static str = super::KIND;

    fn open(handle: StoreHandle) -> Self {
        DocStore { handle }
    }
}

impl DocStore {
    /// A document on a handle of another kind that contains one.
    pub(crate) fn on(handle: StoreHandle) -> DocStore {
        DocStore { handle }
    }

    /// The value of a key at the top. Dots in it have no meaning.
    ///
    /// Errors: [`ErrorKind::NotFound`].
    pub async fn get(&self, key: &str) -> Result<Value> {
        match shown_alone(&self.handle, key).await? {
            Some(shown) => shown.ok_or_else(|| nothing_at(&self.handle, &Path::key(key))),
            None => self.get_at(&Path::key(key)).await,
        }
    }

    /// The text of a key at the top. Errors: [`ErrorKind::NotFound`], [`ErrorKind::WrongType`].
    pub async fn get_string(&self, key: &str) -> Result<String> {
        match self.get(key).await? {
            Value::Text(text) => Ok(text),
            other => Err(wrong_type(&Path::key(key), "text", &other)),
        }
    }

    /// The value of a key at the top, as a type of yours. Errors: [`ErrorKind::NotFound`], [`ErrorKind::WrongType`].
    pub async fn get_as<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let value = self.get(key).await?;
        minicbor_serde::from_slice(&value.to_bytes()).map_err(|error| {
            let message = "the value does not have the form of the type that was asked for";
            Error::new(ErrorKind::WrongType, message).with("key", key).with("found", value.type_name()).caused_by(error)
        })
    }

    /// The value that a dotted path names. Errors: [`ErrorKind::NotFound`].
    pub async fn get_path(&self, path: &str) -> Result<Value> {
        self.get_at(&Path::dotted(path)).await
    }

    /// The value at a path. Errors: [`ErrorKind::NotFound`].
    pub async fn get_at(&self, path: &Path) -> Result<Value> {
        let view = self.view(path).await?;
        view.show(path)?.ok_or_else(|| nothing_at(&self.handle, path))
    }

    /// True if there is something under a key at the top.
    pub async fn contains_key(&self, key: &str) -> Result<bool> {
        let path = Path::key(key);
        let view = self.view(&path).await?;
        Ok(view.show(&path)?.is_some())
    }

    /// The whole document.
    pub async fn get_all(&self) -> Result<Doc> {
        let view = self.view(&Path::default()).await?;
        Ok(view.tree()?.map().unwrap_or_default())
    }

    /// Live values at a path that do not show, strongest first. Empty where nobody wrote concurrently.
    pub async fn conflicts(&self, path: &Path) -> Result<Vec<Conflict>> {
        let view = self.view(path).await?;
        let conflicts = view.tree()?.at(path).map(|node| node.conflicts()).unwrap_or_default();
        Ok(conflicts.into_iter().map(|(entry, value)| Conflict { entry, value }).collect())
    }

    /// Sets a key at the top.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] for NaN, infinities, values nested too deeply and keys that are too long;
    /// [`ErrorKind::ReadOnly`] outside a transaction.
    pub async fn set(&self, key: &str, value: impl Into<Value>) -> Result<()> {
        self.set_at(&Path::key(key), value.into()).await
    }

    /// Sets what a dotted path names. Scalars on the way yield. Errors: as for [`set`](DocStore::set).
    pub async fn set_path(&self, path: &str, value: impl Into<Value>) -> Result<()> {
        self.set_at(&Path::dotted(path), value.into()).await
    }

    /// Sets the value at a path. Errors: as for [`set`](DocStore::set).
    pub async fn set_at(&self, path: &Path, value: Value) -> Result<()> {
        if !value.is_storable() {
            let message = "a value holds NaN or an infinity, or is nested more than 64 deep";
            return Err(invalid(message).with("path", show_path(path)));
        }
        self.prepare(path).await?;
        let mut parts = Vec::new();
        flatten(path, value, &mut parts)?;
        self.handle.stage(|staged| {
            let Some(doc) = staged.doc() else { return };
            for (path, part) in parts {
                doc.put_part(path, part);
            }
        })
    }

    /// Deletes a key at the top, with everything below it. False if there was nothing, and nothing is written.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        self.delete_at(&Path::key(key)).await
    }

    /// Deletes what a dotted path names. False if there was nothing.
    pub async fn delete_path(&self, path: &str) -> Result<bool> {
        self.delete_at(&Path::dotted(path)).await
    }

    /// Deletes a path, with everything below it. False if there was nothing.
    pub async fn delete_at(&self, path: &Path) -> Result<bool> {
        self.check(path)?;
        let view = self.view(path).await?;
        let there = view.show(path)?.is_some();
        let has_base = view.has_base();
        self.handle.stage(|staged| {
            let Some(doc) = staged.doc() else { return };
            let covered_above = doc.covers(&path.above(path.0.len() - 1));
            match there {
                true if has_base && !covered_above => doc.replace(path.clone(), Action::Delete),
                true => doc.clear(path),
                false => {}
            }
        })?;
        Ok(there)
    }

    /// Reads a key at the top, changes it, and sets what comes out; `None` deletes it.
    pub async fn modify(&self, key: &str, change: impl FnOnce(Option<Value>) -> Option<Value> + Send) -> Result<()> {
        let before = match self.get(key).await {
            Ok(value) => Some(value),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match change(before) {
            Some(value) => self.set(key, value).await,
            None => self.delete(key).await.map(drop),
        }
    }

    /// Adds to the counter under a key at the top; where there is nothing, a counter begins. Concurrent increments add up.
    ///
    /// Errors: [`ErrorKind::WrongType`] if there is something other than a counter: set a [`Value::Counter`] first.
    pub async fn increment(&self, key: &str, by: i64) -> Result<()> {
        self.increment_at(&Path::key(key), by).await
    }

    /// Adds to the counter at a path. Errors: as for [`increment`](DocStore::increment).
    pub async fn increment_at(&self, path: &Path, by: i64) -> Result<()> {
        self.prepare(path).await?;
        let view = self.view(path).await?;
        let tree = view.tree()?;
        let node = tree.at(path);
        match node.and_then(|node| node.show()) {
            None | Some(Value::Counter(_)) => {}
            Some(other) => return Err(wrong_type(path, "counter", &other)),
        }
        let epoch = node.and_then(|node| node.strongest_counter()).filter(|id| *id != Stamp::PENDING.id);
        let too_much =
            || invalid("the sum of the increments in one transaction does not fit").with("path", show_path(path));
        self.handle.stage(|staged| -> Result<()> {
            let Some(doc) = staged.doc() else { return Ok(()) };
            let action = match doc.at(path) {
                Some(Action::Create(base)) => Action::Create(base.checked_add(by).ok_or_else(too_much)?),
                Some(Action::Increment { by: before, epoch }) => {
                    Action::Increment { by: before.checked_add(by).ok_or_else(too_much)?, epoch: *epoch }
                }
                // A deleted counter that counts again is a new one.
                Some(Action::Delete) => Action::Create(by),
                _ => Action::Increment { by, epoch },
            };
            doc.actions.insert(path.order(), (path.clone(), action));
            Ok(())
        })?
    }

    /// Before something is written at a path: it must be one, and scalars staged above it yield.
    pub(super) async fn prepare(&self, path: &Path) -> Result<()> {
        self.check(path)?;
        self.handle.touch(|| Touched::Path(path.prefix(Stamp::PENDING.id)));
        let mut there = Vec::new();
        for length in 1..path.0.len() {
            let above = path.above(length);
            let staged = self.handle.staged(|staged| staged.doc_ref().is_some_and(|doc| doc.at(&above).is_some()));
            if staged == Some(true) && DocView::load(&self.handle, &above).await?.has_base() {
                there.push(above);
            }
        }
        self.handle.stage(|staged| {
            if let Some(doc) = staged.doc() {
                doc.yield_above(path, |above| there.contains(above));
            }
        })
    }

    pub(super) fn check(&self, path: &Path) -> Result<()> {
        if !path.is_valid() {
            let message = "the path is empty or too long; its keys together have at most about 750 bytes";
            return Err(invalid(message).with("path", show_path(path)));
        }
        Ok(())
    }

    pub(super) async fn view(&self, path: &Path) -> Result<DocView> {
        self.handle.touch(|| Touched::Path(path.prefix(Stamp::PENDING.id)));
        DocView::load(&self.handle, path).await
    }
}

fn nothing_at(handle: &StoreHandle, path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, "the document has nothing there")
        .with("path", show_path(path))
        .with("store", handle.name())
}

/// A part of a value that is set.
pub(super) enum Part {
    Plain(Plain),
    Counter(i64),
    Element { position: Vec<u8>, value: Value },
}

impl DocStage {
    pub(super) fn put_part(&mut self, path: Path, part: Part) {
        match part {
            Part::Plain(plain) => self.replace(path, Action::Set(plain)),
            Part::Counter(base) => self.replace(path, Action::Create(base)),
            Part::Element { position, value } => {
                let name = ElementName { entry: None, index: self.next_element };
                self.next_element += 1;
                self.note_end(&path, &position);
                let path = path.child(Step::Element(name));
                self.actions.insert(path.order(), (path, Action::Insert { position, value }));
            }
        }
    }
}

/// The delta that makes these values of an empty document. Errors: `InvalidInput` for what cannot be stored.
pub(crate) fn delta_of(values: Doc) -> Result<DocDelta> {
    if !Value::Map(values.clone()).is_storable() {
        return Err(invalid("a value holds NaN or an infinity, or is nested more than 64 deep"));
    }
    let mut stage = DocStage::default();
    for (key, value) in values {
        let path = Path::key(&key);
        if !path.is_valid() {
            return Err(invalid("a key is too long").with("key", key));
        }
        let mut parts = Vec::new();
        flatten(&path, value, &mut parts)?;
        parts.into_iter().for_each(|(path, part)| stage.put_part(path, part));
    }
    Ok(stage.into_delta())
}

/// The parts of a value, outer ones first: each map and list, then what is in it.
fn flatten(path: &Path, value: Value, parts: &mut Vec<(Path, Part)>) -> Result<()> {
    match value {
        Value::Map(map) => {
            parts.push((path.clone(), Part::Plain(Plain::Map)));
            for (key, value) in map {
                let path = path.child(Step::Key(key));
                if !path.is_valid() {
                    return Err(invalid("a key in the value is too long for its place").with("path", show_path(&path)));
                }
                flatten(&path, value, parts)?;
            }
        }
        Value::List(list) => {
            parts.push((path.clone(), Part::Plain(Plain::List)));
            for (position, value) in position::spread(list.len()).zip(list) {
                parts.push((path.clone(), Part::Element { position, value }));
            }
        }
        Value::Counter(base) => parts.push((path.clone(), Part::Counter(base))),
        scalar => parts.push((path.clone(), Part::Plain(Plain::Scalar(scalar)))),
    }
    Ok(())
}

pub(super) fn show_path(path: &Path) -> String {
    let step = |step: &Step| match step {
        Step::Key(key) => key.clone(),
        Step::Element(name) => format!("[{}]", name.index),
    };
    path.0.iter().map(step).collect::<Vec<_>>().join(".")
}

pub(super) fn wrong_type(path: &Path, asked: &'static str, found: &Value) -> Error {
    Error::new(ErrorKind::WrongType, "the value there has another type")
        .with("path", show_path(path))
        .with("asked", asked)
        .with("found", found.type_name())
}
