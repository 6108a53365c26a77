//! The ways to peers: addresses as people write them, and the transports that a node is given.

use eidetica::sync::transports::http::{HttpLimits, HttpTransport};
use eidetica::sync::transports::iroh::{IrohTransport, RelayMode};
use eidetica::sync::{Address, TransportBuilder};

use crate::arguments::{Network, Serve};

/// The transports of a node, each with its label.
pub type Transports = Vec<(&'static str, Box<dyn TransportBuilder>)>;

/// Those of a node that calls peers and lets nobody in.
pub fn dialling(network: &Network) -> Transports {
    let iroh = IrohTransport::builder().relay_mode(relays(network)).dial_only();
    vec![("http", Box::new(HttpTransport::builder())), ("iroh", Box::new(iroh))]
}

/// Those of a node that lets peers in where it was told to, and calls over the others.
pub fn serving(network: &Network, serve: &Serve) -> Transports {
    let mut http = HttpTransport::builder();
    if let Some(address) = &serve.http {
        http = http.bind(address.as_str());
    }
    for address in &serve.advertise {
        http = http.advertise(address.as_str());
    }
    if serve.behind_proxy {
        let mut limits = HttpLimits::default();
        limits.connections_per_origin = limits.connections;
        http = http.limits(limits);
    }
    if let Some(header) = &serve.origin_header {
        http = http.origin_header(header);
    }
    let iroh = IrohTransport::builder().relay_mode(relays(network)).mdns(serve.mdns);
    let iroh = match &serve.iroh {
        None => iroh.dial_only(),
        Some(None) => iroh,
        Some(Some(address)) => iroh.bind(address.as_str()),
    };
    vec![("http", Box::new(http)), ("iroh", Box::new(iroh))]
}

fn relays(network: &Network) -> RelayMode {
    match network.relays.as_str() {
        "default" => RelayMode::Default,
        "disabled" => RelayMode::Disabled,
        urls => RelayMode::Custom(urls.split(',').map(str::to_owned).collect()),
    }
}

/// An address so that [`address`] reads it, whatever it looks like.
pub fn in_full(address: &Address) -> String {
    format!("{}:{}", address.transport_type, address.address)
}

/// The address that somebody has written or copied. Tickets, endpoint ids and device keys are of iroh, and everything else is of
/// HTTP; `http:` or `iroh:` in front says it outright.
pub fn address(text: &str) -> Address {
    if let Some(rest) = text.strip_prefix("iroh:")
        // A host may have this name.
        && rest.parse::<u16>().is_err()
    {
        return Address::iroh(rest);
    }
    if let Some(rest) = text.strip_prefix("http:")
        && !rest.starts_with("//")
        && rest.parse::<u16>().is_err()
    {
        return Address::http(rest);
    }
    let id = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ticket =
        text.starts_with("endpoint") && text.len() > 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match id || ticket || text.starts_with("ed25519:") {
        true => Address::iroh(text),
        false => Address::http(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_says_which_transport_is_meant() {
        let id = "ae58ff8833241ac82d6ff7611046ed67b5072d142c588d0063e942d9a75502b6";
        let ticket = format!("endpointab{}", "c3".repeat(40));
        let key = format!("ed25519:{id}");
        for text in [id, &ticket, &key] {
            assert_eq!(address(text), Address::iroh(text));
            assert_eq!(address(&format!("iroh:{text}")), Address::iroh(text));
        }
        for text in [
            "127.0.0.1:8080",
            "http://peer.example.com:80/notes",
            "https://peer.example.com",
            "endpoint:80",
            "endpoint.example.com:80",
            "iroh:80",
            "http:80",
            "",
        ] {
            assert_eq!(address(text), Address::http(text));
        }
        assert_eq!(address("http:127.0.0.1:80"), Address::http("127.0.0.1:80"));
        assert_eq!(address("iroh:"), Address::iroh(""));
    }
}
