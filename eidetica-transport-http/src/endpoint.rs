//! Addresses as they are written, taken apart.

use std::fmt;

use axum::http::Uri;
use eidetica_contract::{Address, Error, ErrorKind, Result};

use crate::{PATH, SCHEME};

/// The longest address, in bytes.
const LONGEST: usize = 2048;

/// Where a peer listens: what one set of connections leads to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    pub(crate) tls: bool,
    /// A name or an IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// An address: where to connect to, and where to post to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// What stands in the header `host`.
    pub(crate) authority: String,
    pub(crate) path: Uri,
}

impl Target {
    /// Reads `host:port` or `http(s)://host[:port][/path]`.
    pub(crate) fn parse(address: &Address) -> Result<Target> {
        if address.transport_type != SCHEME {
            let message = "the HTTP transport dials addresses of the scheme `http` alone";
            return Err(Error::new(ErrorKind::InvalidInput, message).with("scheme", &address.transport_type));
        }
        Target::read(&address.address).map_err(|reason| {
            let message = "not an HTTP address; write `host:port` or `http(s)://host:port/path`";
            let shown: String = address.address.chars().take(200).collect();
            Error::new(ErrorKind::InvalidInput, message).with("address", shown).with("problem", reason)
        })
    }

    fn read(text: &str) -> Result<Target, &'static str> {
        if text.len() > LONGEST {
            return Err("it is too long");
        }
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let bare = whole.len() != text.len();
        // What follows `#` is dropped without a word by the parser.
        if text.contains('#') {
            return Err("it has a fragment");
        }
        let uri: Uri =
            whole.parse().map_err(|_| "it cannot be read; names in other scripts are written in punycode")?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("its scheme is neither http nor https"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds a user name");
        }
        if uri.query().is_some() {
            return Err("it has a query");
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err("it names no host");
        }
        let prefix = uri.path().trim_end_matches('/');
        if bare && !prefix.is_empty() {
            return Err("with a path it begins with http:// or https://");
        }
        let port = match authority.port() {
            Some(port) if port.as_u16() != 0 => port.as_u16(),
            Some(_) => return Err("its port is zero"),
            None if authority.as_str() != authority.host() => return Err("its port is no number up to 65535"),
            None if bare => return Err("it names no port"),
            None => [80, 443][usize::from(tls)],
        };
        let path = format!("{prefix}{PATH}").parse().map_err(|_| "its path cannot be read")?;
        let endpoint = Endpoint { tls, host: host.to_ascii_lowercase(), port };
        Ok(Target { authority: authority.as_str().to_owned(), path, endpoint })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.host.contains(':');
        let (open, close) = if brackets { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_are_addresses() {
        for (text, shown, authority, path, tls) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1:8080", "/eidetica/v1", false),
            ("Peer.example.com:80", "peer.example.com:80", "Peer.example.com:80", "/eidetica/v1", false),
            ("[::1]:8080", "[::1]:8080", "[::1]:8080", "/eidetica/v1", false),
            ("http://peer:8080", "peer:8080", "peer:8080", "/eidetica/v1", false),
            ("http://peer:8080/", "peer:8080", "peer:8080", "/eidetica/v1", false),
            ("http://peer", "peer:80", "peer", "/eidetica/v1", false),
            ("https://peer", "peer:443", "peer", "/eidetica/v1", true),
            ("HTTPS://peer:8443/a/b/", "peer:8443", "peer:8443", "/a/b/eidetica/v1", true),
        ] {
            let target = Target::parse(&Address::http(text)).unwrap();
            assert_eq!(target.endpoint.to_string(), shown, "{text}");
            assert_eq!((target.authority.as_str(), target.path.to_string().as_str()), (authority, path), "{text}");
            assert_eq!(target.endpoint.tls, tls, "{text}");
        }
    }

    #[test]
    fn forms_that_are_none() {
        let long = format!("http://peer:80/{}", "a".repeat(3000));
        for text in [
            "",
            "peer",
            ":80",
            "peer:",
            "peer:0",
            "peer:65536",
            "peer:80/path",
            "::1:80",
            "[::1:80",
            "http://",
            "http:///path",
            "ftp://peer:80",
            "http://user@peer:80",
            "http://peer:80/?a=b",
            "http://peer:80/#a",
            "http://peer:80/a b",
            "peer:80\r\nx: y",
            "péer:80",
            "http://peer:80\0",
            long.as_str(),
        ] {
            let error = Target::parse(&Address::http(text)).map(|target| target.endpoint.to_string()).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
        assert!(Target::parse(&Address::iroh("peer:80")).is_err());
    }
}
