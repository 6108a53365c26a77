//! `share` and `invitations`: tickets, with which others join.

use std::time::{Duration, SystemTime};

use eidetica::auth::Permission;
use eidetica::sync::ticket::{DatabaseTicket, TicketPeer};
use eidetica::user::Terms;
use eidetica::{Error, ErrorKind, Id};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;

use crate::arguments::Share;
use crate::failure::Failure;
use crate::names;
use crate::node::{self, Node, Operation};
use crate::output::Output;
use crate::session::Session;

/// Makes a ticket.
pub async fn run(session: &Session, share: &Share, output: &mut Output) -> Result<(), Failure> {
    let id = names::find(session, &share.database).await?;
    let mut ticket = where_it_is(session, id).await?;
    ticket.name = session.instance.open_database_with_key(&id, None).await?.get_name().await.ok();
    if let Some(access) = share.invite {
        let (permission, uses, valid) = (Permission::from(access), share.uses, *share.valid);
        session.user().await?.add_invitation(&mut ticket, Terms { permission, uses, valid }).await?;
    }
    let text = ticket.to_string();
    let drawn = share.qr.then(|| draw(&text)).transpose()?;
    let shown = match &drawn {
        Some(drawn) => format!("{text}\n\n{drawn}"),
        None => text.clone(),
    };
    let invitation = ticket.invitation.as_ref().map(|invitation| invitation.id().to_string());
    output.say(&shown, || json!({ "ticket": text, "database": id.to_string(), "invitation": invitation, "qr": drawn }))
}

/// A ticket with the addresses of the process that serves this store.
async fn where_it_is(session: &Session, id: Id) -> Result<DatabaseTicket, Failure> {
    let nowhere = |message: &'static str| {
        Error::new(ErrorKind::Unreachable, message).with("database", id).with("store", &session.url)
    };
    let message =
        "nobody serves this store, so nobody could join it; run `eidetica serve --iroh` (or `--http ADDR`) first";
    let mut serving = Node::serving(session).await?.ok_or_else(|| nowhere(message))?;
    let status = serving.ask(Operation::Status, &mut |_| {}).await?;
    let listening = status["serving"]["listening"].as_array().into_iter().flatten();
    let part = |one: &serde_json::Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    // The label of a transport is its scheme here.
    let addresses = listening.map(|one| node::address(&format!("{}:{}", part(one, "transport"), part(one, "address"))));
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() {
        let message = "the process that serves this store lets nobody in; start it with `--iroh` or `--http ADDR`";
        return Err(nowhere(message).into());
    }
    let mut ticket = DatabaseTicket::new(id);
    ticket.peers.push(TicketPeer { device: session.instance.device_id(), addresses });
    Ok(ticket)
}

fn draw(text: &str) -> Result<String, Error> {
    let code = QrCode::new(text).map_err(|error| {
        let message = "the ticket is too long for a QR code; serve over fewer transports, or share its text";
        Error::new(ErrorKind::InvalidInput, message).caused_by(error)
    })?;
    // Most terminals are dark: what is light in the code is drawn, and what is dark is left empty.
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// Shows the invitations that are still good, or ends one.
pub async fn invitations(session: &Session, revoke: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    let user = session.user().await?;
    let all = user.invitations().await?;
    if let Some(text) = revoke {
        let found: Vec<_> = all.iter().filter(|one| one.id.to_string().contains(text)).collect();
        let id = match found[..] {
            [one] if !text.is_empty() => one.id,
            [] => {
                let message =
                    "there is no such invitation, or it is over; `eidetica invitations` shows those there are";
                return Err(Error::new(ErrorKind::NotFound, message).with("invitation", text).into());
            }
            _ => {
                let message = "several invitations have this in their id; write more of it";
                return Err(Error::new(ErrorKind::InvalidInput, message).with("invitation", text).into());
            }
        };
        user.revoke_invitation(&id).await?;
        return output.say("the invitation has ended", || json!({ "revoked": id.to_string() }));
    }
    let named = names::all(session).await?;
    let mut lines = Vec::new();
    for one in all {
        let ends = SystemTime::UNIX_EPOCH + Duration::from_millis(one.ends_millis.min(1 << 45));
        let ends = humantime::format_rfc3339_seconds(ends).to_string();
        let permission = format!("{:?}", one.permission).to_lowercase();
        let name = named.iter().find(|named| named.id == one.database).map(|named| named.name.clone());
        if output.json {
            output.document(&json!({
                "invitation": one.id.to_string(), "database": one.database.to_string(), "name": name,
                "permission": permission, "uses_left": one.uses_left, "ends": ends,
            }))?;
            continue;
        }
        let name = name.unwrap_or_else(|| one.database.to_string());
        lines.push(vec![one.id.to_string(), name, permission, one.uses_left.to_string(), ends]);
    }
    if output.json {
        return Ok(());
    }
    output.table(&["invitation", "database", "permission", "uses left", "ends"].map(str::to_owned), &lines)
}
