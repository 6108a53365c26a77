//! Settings as one line of text, as the registry takes them.

use eidetica_contract::{Error, ErrorKind, Result};

use crate::{IrohTransport, IrohTransportBuilder, RelayMode};

/// Reads `ADDRESS[,ADDRESS][?SETTING=VALUE[&…]]`; without an address it dials alone.
pub(crate) fn read(text: &str) -> Result<IrohTransportBuilder> {
    let (addresses, settings) = text.split_once('?').unwrap_or((text, ""));
    let mut builder = IrohTransport::builder();
    builder = match addresses {
        "" => builder.dial_only(),
        addresses => addresses.split(',').fold(builder, IrohTransportBuilder::bind),
    };
    let mut relays = Vec::new();
    for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        match name {
            "relay" => relays.push(value),
            "discovery" => builder = builder.discovery(switch(setting, value)?),
            "advertise" => builder = builder.advertise(value),
            "mdns" => builder = mdns(builder, switch(setting, value)?)?,
            _ => return Err(refused("there is no such setting of an iroh transport", setting)),
        }
    }
    Ok(match relays[..] {
        [] => builder,
        ["default"] => builder.relay_mode(RelayMode::Default),
        ["staging"] => builder.relay_mode(RelayMode::Staging),
        ["disabled"] => builder.relay_mode(RelayMode::Disabled),
        _ => builder.relay_mode(RelayMode::Custom(relays.into_iter().map(str::to_owned).collect())),
    })
}

fn switch(setting: &str, value: &str) -> Result<bool> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(refused("this setting of an iroh transport is `on` or `off`", setting)),
    }
}

#[cfg(feature = "mdns")]
fn mdns(builder: IrohTransportBuilder, on: bool) -> Result<IrohTransportBuilder> {
    Ok(builder.mdns(on))
}

#[cfg(not(feature = "mdns"))]
fn mdns(builder: IrohTransportBuilder, on: bool) -> Result<IrohTransportBuilder> {
    match on {
        false => Ok(builder),
        true => {
            let message = "this program was built without multicast DNS; build it with the feature `mdns`";
            Err(Error::new(ErrorKind::Unsupported, message))
        }
    }
}

fn refused(message: &'static str, setting: &str) -> Error {
    let known = "relay=default|staging|disabled|URL, discovery=on|off, mdns=on|off, advertise=IP:PORT";
    Error::new(ErrorKind::InvalidInput, message).with("setting", setting).with("settings", known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_built() {
        let new = IrohTransport::builder;
        for (text, builder) in [
            ("", new().dial_only()),
            ("?relay=disabled", new().dial_only().relay_mode(RelayMode::Disabled)),
            ("0.0.0.0:0", new().bind("0.0.0.0:0")),
            ("0.0.0.0:7070,[::]:7070?", new().bind("0.0.0.0:7070").bind("[::]:7070")),
            (
                "127.0.0.1:0?relay=https://a.example.com&relay=https://b.example.com&discovery=off",
                new()
                    .bind("127.0.0.1:0")
                    .relay_mode(RelayMode::Custom(vec!["https://a.example.com".into(), "https://b.example.com".into()]))
                    .discovery(false),
            ),
            (
                "?relay=staging&advertise=192.0.2.1:7",
                new().dial_only().relay_mode(RelayMode::Staging).advertise("192.0.2.1:7"),
            ),
            ("?relay=default&mdns=off", new().dial_only()),
        ] {
            assert_eq!(format!("{:?}", read(text).unwrap()), format!("{builder:?}"), "{text}");
        }
        assert_eq!(read("?mdns=on").is_ok(), cfg!(feature = "mdns"));
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for text in ["?relays=disabled", "?discovery", "?discovery=yes", "?mdns=1", "?a=b", "?="] {
            let error = read(text).map(|builder| format!("{builder:?}")).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
        // These have the form; what they say is looked at when the transport is built.
        for text in ["nonsense", "?relay=disabled&relay=default", "?relay=nonsense", "?relay=", "?advertise=x", ","] {
            let error = read(text).unwrap().into_transport([7; 32]).map(|transport| format!("{transport:?}"));
            assert_eq!(error.expect_err(text).kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
