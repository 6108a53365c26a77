//! A larger transfer, one side of which is killed in the middle.

use std::time::{Duration, Instant};

use eidetica::crdt::Doc;
use eidetica::store::Table;
use eidetica::{Durability, Error, Instance};
use serde_json::{Value as Json, json};

use super::Actor;
use super::checks::Teller;
use super::story::converge;
use crate::failure::Failure;
use crate::moving::Moving;
use crate::session::DEFAULT_USER;

/// How many bytes of text each entry carries.
const TEXT: usize = 400;

pub async fn play(anna: &mut Actor, ben: &mut Actor, entries: u64, teller: &mut Teller<'_>) -> Result<Json, Failure> {
    teller.step(&format!("Ben goes away, and Anna writes {entries} entries meanwhile."))?;
    converge(anna, ben, Instant::now()).await?;
    let (_, before) = ben.heads().await?;
    ben.stop().await?;
    let began = Instant::now();
    write(anna, entries).await?;
    let seconds = began.elapsed().as_secs_f64();
    teller.say(&format!("written in {seconds:.2} s ({:.0} entries/s)", entries as f64 / seconds))?;

    teller.step("Ben comes back, and is killed with SIGKILL in the middle of the transfer.")?;
    let began = Instant::now();
    ben.serve().await?;
    let seen = until_some(ben, before, entries, teller.json()).await?;
    ben.kill().await?;
    let first = began.elapsed().as_secs_f64();
    let (_, now) = ben.heads().await?;
    let arrived = now - before;
    teller.say(&format!("killed after {first:.2} s, when his node had told of {seen}; {arrived} are in his store"))?;
    teller.check(arrived >= seen && arrived > 0, "what his node had told of is in his store")?;
    teller.check(arrived < entries, "not all of it had come")?;

    teller.step("Ben starts again, and the rest comes.")?;
    let (began, told) = (Instant::now(), anna.heard("synced").len());
    ben.serve().await?;
    let second = converge(anna, ben, began).await?;
    let (received, repeated) = count(anna, told, ben, entries - arrived).await?;
    teller.say(&format!("{received} came in {second:.2} s, {repeated} of what he had came again"))?;
    teller.check(received == entries - arrived, "exactly what was missing has come")?;
    teller.check(repeated == 0, "nothing that had arrived was sent again")?;
    let ((hers, rows), (his, _)) = (anna.rows("readings").await?, ben.rows("readings").await?);
    teller.check(hers == his && rows as u64 == entries, &format!("both have the same {rows} rows"))?;
    Ok(json!({
        "entries": entries, "arrived_before": arrived, "came_after": received, "came_again": repeated,
        "seconds_before": first, "seconds_after": second,
    }))
}

/// Writes so many entries with a row each, in this process, while the store is served by another one.
async fn write(anna: &Actor, entries: u64) -> Result<(), Error> {
    let instance = Instance::open_url(&anna.url()).await?;
    let written = async {
        let user = instance.login_user(DEFAULT_USER, None).await?;
        let database = user.find_database("travel").await?.remove(0);
        for number in 0..entries {
            let mut text = vec![0; TEXT / 2];
            blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut text);
            let text: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
            let row: Doc = [("text", text)].into_iter().collect();
            let transaction = database.new_transaction().await?;
            transaction.get_store::<Table<Doc>>("readings").await?.set(&format!("{number:08}"), &row).await?;
            transaction.commit_with(Durability::Buffered).await?;
        }
        database.flush().await
    };
    let written = written.await;
    let closed = instance.close().await;
    written.and(closed)
}

/// Waits until a good part has come, and says how much.
async fn until_some(ben: &Actor, before: u64, entries: u64, json: bool) -> Result<u64, Failure> {
    let mut line = ben.line().await?;
    let mut moving = Moving::new(json);
    loop {
        // Counted in the store, so that it does not matter whose round it came by.
        let here = ben.status(&mut line).await?["entries"].as_u64().unwrap_or(0);
        let come = here.saturating_sub(before);
        moving.at((String::new(), "from Anna".to_owned()), come, entries.saturating_sub(come));
        if come >= entries / 8 {
            moving.finish();
            return Ok(come);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// How many entries have come to Ben since he has started again, and how many came that he had already, by what both sides
/// have counted of their rounds. Anna had told of so many rounds before.
async fn count(anna: &Actor, told: usize, ben: &Actor, expected: u64) -> Result<(u64, u64), Failure> {
    let sum = |events: &[Json], name: &str| events.iter().filter_map(|event| event[name].as_u64()).sum::<u64>();
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let (hers, his) = (anna.heard("synced").split_off(told), ben.heard("synced"));
        let again = sum(&his, "repeated") + sum(&hers, "sent_again");
        let come = sum(&his, "received") + sum(&hers, "sent").saturating_sub(sum(&hers, "sent_again"));
        if come >= expected || Instant::now() >= until {
            return Ok((come, again));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
