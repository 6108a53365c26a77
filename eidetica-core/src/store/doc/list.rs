//! The lists of a document, as an application sees them.

use eidetica_contract::{Error, ErrorKind, Result};

use super::delta::{Action, Plain};
use super::end;
use super::path::{ElementName, Path, Step};
use super::position;
use super::render::Element;
use super::store::{DocStore, Part, show_path, wrong_type};
use crate::error::invalid;
use crate::store::stamp::Stamp;
use crate::value::Value;

/// Positions get longer where elements are inserted at one place again and again; from this length on the list is spread.
const LONG_POSITION: usize = 64;

impl DocStore {
    /// Appends to the list under a dotted path; where there is nothing, a list begins.
    ///
    /// Errors: [`ErrorKind::WrongType`] if there is something other than a list; as for [`set`](DocStore::set).
    pub async fn list_push(&self, path: &str, value: impl Into<Value>) -> Result<()> {
        let value = value.into();
        let at = Path::dotted(path);
        self.check(&at)?;
        if let Some(end) = end::of_list(&self.handle, &at).await?
            && let Some(position) =
                position::between(end.position.as_deref(), None).filter(|p| p.len() <= LONG_POSITION)
        {
            self.prepare(&at).await?;
            return self.put_element(at, end.there, position, value);
        }
        let (path, list) = self.list(path).await?;
        self.insert(path, &list, list.len(), value).await
    }

    /// Inserts before the element with this index; the length of the list appends.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] if the list is shorter; as for [`list_push`](DocStore::list_push).
    pub async fn list_insert(&self, path: &str, index: usize, value: impl Into<Value>) -> Result<()> {
        let (path, list) = self.list(path).await?;
        if index > list.len() {
            return Err(out_of_range(&path, index, list.len()));
        }
        self.insert(path, &list, index, value.into()).await
    }

    /// Replaces the value of an element. Errors: as for [`list_insert`](DocStore::list_insert).
    pub async fn list_set(&self, path: &str, index: usize, value: impl Into<Value>) -> Result<()> {
        let value = value.into();
        check_value(&value)?;
        let (path, list) = self.list(path).await?;
        let element = list.get(index).ok_or_else(|| out_of_range(&path, index, list.len()))?;
        self.write_element(&path, element.name, None, Some(value))
    }

    /// Removes an element. Errors: as for [`list_insert`](DocStore::list_insert).
    pub async fn list_remove(&self, path: &str, index: usize) -> Result<()> {
        let (path, list) = self.list(path).await?;
        let element = list.get(index).ok_or_else(|| out_of_range(&path, index, list.len()))?;
        let at = path.child(Step::Element(own(element.name)));
        self.handle.stage(|staged| {
            let Some(doc) = staged.doc() else { return };
            match own(element.name).entry {
                Some(_) => doc.replace(at, Action::Delete),
                None => doc.clear(&at),
            }
        })
    }

    /// Moves an element so that it ends up with the index `to`. Whoever changes its value meanwhile changes it where it
    /// then is. Errors: as for [`list_insert`](DocStore::list_insert).
    pub async fn list_move(&self, path: &str, from: usize, to: usize) -> Result<()> {
        let (path, mut list) = self.list(path).await?;
        let len = list.len();
        if from >= len || to >= len {
            return Err(out_of_range(&path, from.max(to), len));
        }
        let element = list.remove(from);
        let position = self.make_room(&path, &list, to)?;
        self.write_element(&path, element.name, Some(position), None)
    }

    async fn list(&self, path: &str) -> Result<(Path, Vec<Element>)> {
        let path = Path::dotted(path);
        self.check(&path)?;
        let view = self.view(&path).await?;
        let tree = view.tree()?;
        let node = tree.at(&path);
        match node.and_then(|node| node.show()) {
            Some(other) if !node.is_some_and(|node| node.is_list()) => Err(wrong_type(&path, "list", &other)),
            _ => Ok((path, node.map(|node| node.list()).unwrap_or_default())),
        }
    }

    async fn insert(&self, path: Path, list: &[Element], index: usize, value: Value) -> Result<()> {
        check_value(&value)?;
        self.prepare(&path).await?;
        let there = match self.get_at(&path).await {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            // A list that only could not be read must not be begun anew: that would end it.
            Err(error) => return Err(error),
        };
        let position = self.make_room(&path, list, index)?;
        self.put_element(path, there, position, value)
    }

    /// Inserts an element into a list, which is begun unless it is there.
    fn put_element(&self, path: Path, there: bool, position: Vec<u8>, value: Value) -> Result<()> {
        check_value(&value)?;
        self.handle.stage(|staged| {
            let Some(doc) = staged.doc() else { return };
            if !there {
                doc.put_part(path.clone(), Part::Plain(Plain::List));
            }
            doc.put_part(path, Part::Element { position, value });
        })
    }

    /// A position before the element with this index. Elements that share one position, because they were inserted apart,
    /// are moved apart first.
    fn make_room(&self, path: &Path, list: &[Element], index: usize) -> Result<Vec<u8>> {
        let left = index.checked_sub(1).map(|left| &list[left].position[..]);
        let same = list[index..].iter().take_while(|e| left.is_some_and(|left| e.position[..] <= *left)).count();
        let right = list.get(index + same).map(|element| &element.position[..]);
        let mut positions: Vec<Vec<u8>> = Vec::with_capacity(1 + same);
        for _ in 0..=same {
            let left = positions.last().map(Vec::as_slice).or(left);
            match position::between(left, right) {
                Some(position) if position.len() <= LONG_POSITION => positions.push(position),
                _ => return self.spread(path, list, index),
            }
        }
        let free = positions.remove(0);
        for (element, position) in list[index..].iter().zip(positions) {
            self.write_element(path, element.name, Some(position), None)?;
        }
        Ok(free)
    }

    /// Gives all elements new, short positions, and returns the one that is left free before the element with this index.
    /// Inserting at one place again and again makes positions longer, and a peer may choose such as leave no room; this
    /// happens once in many inserts.
    fn spread(&self, path: &Path, list: &[Element], index: usize) -> Result<Vec<u8>> {
        let mut positions: Vec<Vec<u8>> = position::spread(list.len() + 1).collect();
        let free = positions.remove(index);
        for (element, position) in list.iter().zip(positions) {
            self.write_element(path, element.name, Some(position), None)?;
        }
        Ok(free)
    }

    fn write_element(
        &self,
        path: &Path,
        name: ElementName,
        position: Option<Vec<u8>>,
        value: Option<Value>,
    ) -> Result<()> {
        let at = path.child(Step::Element(own(name)));
        self.handle.stage(|staged| {
            let Some(doc) = staged.doc() else { return };
            if let Some(position) = &position {
                doc.note_end(path, position);
            }
            let action = match doc.at(&at) {
                Some(Action::Insert { position: p, value: v }) => Action::Insert {
                    position: position.unwrap_or_else(|| p.clone()),
                    value: value.unwrap_or_else(|| v.clone()),
                },
                Some(Action::Write { position: p, value: v }) => {
                    Action::Write { position: position.or_else(|| p.clone()), value: value.or_else(|| v.clone()) }
                }
                _ => Action::Write { position, value },
            };
            doc.actions.insert(at.order(), (at, action));
        })
    }
}

/// Elements that this transaction makes have no entry yet; while they are looked at, a placeholder stands for it.
fn own(name: ElementName) -> ElementName {
    ElementName { entry: name.entry.filter(|id| *id != Stamp::PENDING.id), ..name }
}

fn check_value(value: &Value) -> Result<()> {
    if !value.is_storable() {
        return Err(invalid("a value holds NaN or an infinity, or is nested more than 64 deep"));
    }
    Ok(())
}

fn out_of_range(path: &Path, index: usize, len: usize) -> Error {
    invalid("the list is shorter than that").with("path", show_path(path)).with("index", index).with("length", len)
}
