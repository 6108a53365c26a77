//! The key of the device: who this store is to others, whoever uses it.

use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::{Engine, SecretKey};

/// The row that holds its seed. Nothing seals it, since a device works with nobody logged in: the mode of the file does.
const ROW: &str = "device-key";

/// The key of the device that this store is on, made when it is first asked for.
pub(crate) async fn load_or_make(engine: &Engine) -> Result<SecretKey> {
    loop {
        if let Some(row) = engine.local(ROW).await? {
            let seed = row[..].try_into().map_err(|_| {
                let message = "the key of this device is damaged; restore the store from a backup";
                Error::new(ErrorKind::Corrupted, message).with("damaged", ROW)
            })?;
            return Ok(SecretKey::from_seed(seed));
        }
        let key = SecretKey::generate(engine.environment())?;
        match engine.set_local(ROW, None, key.seed().to_vec()).await {
            Ok(()) => return Ok(key),
            // Another process has been faster, and its key counts.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
}
