//! Stores of the kinds of this crate: what is done to them, and what they show then.

use async_trait::async_trait;
use eidetica_conformance::{Dice, KindSubject};
use eidetica_contract::Result;
use eidetica_core::crdt::Doc;
use eidetica_core::store::table::RowRange;
use eidetica_core::store::{DocStore, SettingsStore, Table};

pub struct Documents;

#[async_trait]
impl KindSubject for Documents {
    type Store = DocStore;

    async fn act(&self, store: &DocStore, dice: &mut Dice) -> Result<()> {
        let (key, number) = (dice.word(), dice.below(100) as i64);
        match dice.below(7) {
            0 | 1 => store.set(&format!("flat {key}"), number).await,
            2 => store.set(&format!("flat {key}"), format!("{number}")).await,
            3 => store.set_path(&format!("deep.{key}.{}", dice.word()), number).await,
            4 => store.increment(&format!("count {key}"), number).await,
            5 => store.delete(&format!("flat {key}")).await.map(drop),
            _ => store.delete_path(&format!("deep.{key}")).await.map(drop),
        }
    }

    async fn show(&self, store: &DocStore) -> Result<String> {
        Ok(format!("{:#?}", store.get_all().await?))
    }
}

pub struct Tables;

#[async_trait]
impl KindSubject for Tables {
    type Store = Table<Doc>;

    async fn act(&self, store: &Table<Doc>, dice: &mut Dice) -> Result<()> {
        let (key, number) = (dice.word(), dice.below(100) as i64);
        let mut row = Doc::new();
        row.set("number", number);
        row.set(["one", "other"][dice.below(2) as usize], dice.word());
        match dice.below(5) {
            0 => store.delete(&key).await.map(drop),
            1 => store.insert(&row).await.map(drop),
            _ => store.set(&key, &row).await,
        }
    }

    async fn show(&self, store: &Table<Doc>) -> Result<String> {
        let rows = store.scan(RowRange::all()).await?;
        Ok(rows.into_iter().map(|(key, row)| format!("{key}: {row:?}\n")).collect())
    }
}

pub struct Settings;

#[async_trait]
impl KindSubject for Settings {
    type Store = SettingsStore;

    fn store(&self) -> String {
        "_settings".to_owned()
    }

    async fn act(&self, store: &SettingsStore, dice: &mut Dice) -> Result<()> {
        match dice.below(2) {
            0 => store.set_name(&dice.word()).await,
            _ => store.set(&format!("own {}", dice.word()), dice.below(100) as i64).await,
        }
    }

    async fn show(&self, store: &SettingsStore) -> Result<String> {
        Ok(format!("{:#?}", store.get_all().await?))
    }
}
