//! What this device has asked of others.

use bytes::Bytes;
use eidetica_contract::{ErrorKind, PublicKey, Result};
use eidetica_core::{Engine, Id, LocalChange};

use super::answer::Answer;
use super::request::Request;
use super::rows::{self, ASKED, AskedRow};

/// The requests for access that users of this device have made to others, with what was answered. They lie in the store, signed,
/// so each can be asked again after a restart and with no key unlocked, until it is granted. A cheap handle.
///
/// # Errors and cancellation
///
/// As for [`Grants`](super::Grants).
#[derive(Clone)]
pub struct AskedRequests {
    engine: Engine,
    device: PublicKey,
}

/// A request that was made to another device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// What was asked, of whom.
    pub request: Request,
    /// What was answered last; `None` before there was an answer.
    pub answer: Option<Answer>,
    /// When it was asked first, in milliseconds since 1970.
    pub asked_millis: u64,
}

impl AskedRequests {
    /// The requests in this store, of the device whose store it is.
    pub fn new(engine: Engine, device: PublicKey) -> AskedRequests {
        AskedRequests { engine, device }
    }

    /// Stores a request that is to be made. One is kept for each database, key and device that is asked: a later one replaces it,
    /// the same changes nothing.
    pub async fn remember(&self, request: &Request) -> Result<()> {
        let bytes = request.to_bytes().to_vec();
        self.change(request, |known| {
            let is_new = known.is_none_or(|known| known.request != bytes);
            let asked = self.engine.environment().now().millis();
            is_new.then(|| AskedRow { request: bytes.clone(), answer: Vec::new(), asked })
        })
        .await
    }

    /// Stores what was answered to a request, if it is still the one that is remembered.
    pub async fn note(&self, request: &Request, answer: &Answer) -> Result<()> {
        let (bytes, answer) = (request.to_bytes(), answer.to_bytes().to_vec());
        self.change(request, |known| {
            let known = known.filter(|known| known.request == bytes && known.answer != answer)?;
            Some(AskedRow { answer: answer.clone(), ..known })
        })
        .await
    }

    async fn change(&self, request: &Request, change: impl Fn(Option<AskedRow>) -> Option<AskedRow>) -> Result<()> {
        let name = name(&request.wanted().database, &request.wanted().key, request.to());
        loop {
            let before = self.engine.local(&name).await?;
            let known = before.as_deref().map(|row| rows::read(row, "what was asked")).transpose()?;
            let Some(after) = change(known) else { return Ok(()) };
            let change = LocalChange { name: name.clone(), before, after: Some(rows::write(after)) };
            match self.engine.change_locals(vec![change]).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }

    /// What was asked for a database, of whomever.
    pub async fn of(&self, database: &Id) -> Result<Vec<Asked>> {
        self.below(&format!("{ASKED}{database}/")).await
    }

    /// Everything that was asked.
    pub async fn all(&self) -> Result<Vec<Asked>> {
        self.below(ASKED).await
    }

    /// The changes that forget what was asked for a database with this key, of whomever, to be made together with others.
    pub async fn forgetting(&self, database: &Id, key: &PublicKey) -> Result<Vec<LocalChange>> {
        let rows = self.engine.locals(&format!("{ASKED}{database}/{key}/")).await?;
        Ok(rows.into_iter().map(|(name, before)| LocalChange { name, before: Some(before), after: None }).collect())
    }

    /// Forgets what was asked for a database with this key.
    pub async fn forget(&self, database: &Id, key: &PublicKey) -> Result<()> {
        loop {
            let changes = self.forgetting(database, key).await?;
            if changes.is_empty() {
                return Ok(());
            }
            match self.engine.change_locals(changes).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }

    async fn below(&self, prefix: &str) -> Result<Vec<Asked>> {
        let rows = self.engine.locals(prefix).await?;
        rows.into_iter().map(|(name, row)| self.parse(&name, &row)).collect()
    }

    fn parse(&self, row_name: &str, row: &Bytes) -> Result<Asked> {
        let damaged = || rows::damaged("what was asked");
        let row: AskedRow = rows::read(row, "what was asked")?;
        let to = row_name.rsplit('/').next().and_then(|key| key.parse().ok()).ok_or_else(damaged)?;
        let request = Request::parse(&row.request, &self.device, &to).ok_or_else(damaged)?;
        if name(&request.wanted().database, &request.wanted().key, &to) != row_name {
            return Err(damaged());
        }
        let answer = match &row.answer[..] {
            [] => None,
            answer => Some(Answer::parse(answer).ok_or_else(damaged)?),
        };
        Ok(Asked { request, answer, asked_millis: row.asked })
    }
}

fn name(database: &Id, key: &PublicKey, to: &PublicKey) -> String {
    format!("{ASKED}{database}/{key}/{to}")
}
