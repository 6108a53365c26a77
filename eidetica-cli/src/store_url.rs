//! The name of a store on the command line.

use eidetica::backend::Registry;
use eidetica::{Error, ErrorKind};

/// A word that can name a store: with a scheme.
pub fn form(text: &str) -> Result<String, Error> {
    if text.contains(':') {
        return Ok(text.to_owned());
    }
    let message = "a store is named by a URL, scheme first, such as `sqlite:notes.db`";
    Err(Error::new(ErrorKind::InvalidInput, message))
}

/// Refuses a scheme that this program does not have, with those it has. Errors: `NotFound`.
pub fn check_scheme(url: &str) -> Result<(), Error> {
    let registry = Registry::linked()?;
    let known: Vec<&str> = registry.backends().map(|backend| backend.scheme()).collect();
    let scheme = url.split(':').next().unwrap_or_default();
    if known.contains(&scheme) {
        return Ok(());
    }
    let message = "this program has no stores of this scheme; see `known` for the schemes it has";
    Err(Error::new(ErrorKind::NotFound, message).with("scheme", scheme).with("known", known.join(", ")))
}
