//! Where the process that serves a store is found: a small file beside the store names its local socket.
//!
//! The file is locked while the store is served, so that two processes do not serve it at once, and so that a file that a
//! crash has left is told from one that counts. The socket lies beside the store, too, unless its path is too long for one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use eidetica::{Error, ErrorKind};

/// The right to serve a store, until it is dropped.
pub struct Post {
    file: File,
    path: PathBuf,
    /// Holds the socket if it does not lie beside the store.
    elsewhere: Option<tempfile::TempDir>,
}

/// The longest path of a socket, in bytes, that all systems take.
#[cfg(unix)]
const LONGEST_PATH: usize = 100;

impl Post {
    /// Takes the right to serve the store in a file. Errors: `Locked` if another process has it.
    pub fn take(store: &Path) -> Result<Post, Error> {
        let path = beside(store, "serve");
        let failed = |error| failed(&path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = "another process serves this store already; all commands work beside it, and `eidetica status` \
                               tells where it listens; stop it to serve in another way";
                return Err(Error::new(ErrorKind::Locked, message).with("store", store.display()));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        Ok(Post { file, path, elsewhere: None })
    }

    /// Chooses where the socket lies, and removes one that a crash has left there.
    #[cfg(unix)]
    pub fn socket(&mut self, store: &Path) -> Result<PathBuf, Error> {
        let path = std::path::absolute(beside(store, "socket")).map_err(|error| failed(&self.path, error))?;
        if path.as_os_str().len() <= LONGEST_PATH {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path, error)),
                _ => Ok(path),
            };
        }
        let directory = tempfile::Builder::new().prefix("eidetica-").tempdir();
        let directory = directory.map_err(|error| failed(&std::env::temp_dir(), error))?;
        let path = directory.path().join("socket");
        self.elsewhere = Some(directory);
        Ok(path)
    }

    /// Says where the socket is, from when on it answers.
    #[cfg(unix)]
    pub fn announce(&mut self, socket: &Path) -> Result<(), Error> {
        let written = self.file.write_all(socket.as_os_str().as_encoded_bytes()).and_then(|()| self.file.flush());
        written.map_err(|error| failed(&self.path, error))
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        // The file stays, empty: removing it would let another process lock one that nobody sees.
        let _ = self.file.set_len(0);
    }
}

fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn failed(path: &Path, error: io::Error) -> Error {
    let message = "the place where other commands find the process that serves the store cannot be made or used; check that \
                   the directory of the store can be written";
    Error::new(error.kind().into(), message).with("path", path.display()).caused_by(error)
}

#[cfg(unix)]
pub use line::Line;

#[cfg(unix)]
mod line {
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::MetadataExt;

    use eidetica_backend_lent::Borrowed;
    use serde_json::Value as Json;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixStream;
    use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

    use super::super::spoken::{Answer, LONGEST, Operation};
    use super::*;

    /// A line to the process that serves a store.
    pub struct Line {
        read: BufReader<OwnedReadHalf>,
        write: OwnedWriteHalf,
    }

    impl Line {
        /// Calls the process that serves the store in a file; `None` if there is none.
        ///
        /// Errors: `PermissionDenied` if it belongs to another user of this machine.
        pub async fn open(store: &Path) -> Result<Option<Line>, Error> {
            let path = beside(store, "serve");
            let mut socket = Vec::new();
            match File::open(&path) {
                Ok(file) => file.take(4096).read_to_end(&mut socket).map_err(|error| failed(&path, error))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(&path, error)),
            };
            if socket.is_empty() {
                return Ok(None);
            }
            let socket = PathBuf::from(std::ffi::OsString::from_vec(socket));
            match UnixStream::connect(&socket).await {
                Ok(stream) => {
                    // What is named there may be gone, and somebody else in its place.
                    let owner = std::fs::metadata(&path).map_err(|error| failed(&path, error))?.uid();
                    if !stream.peer_cred().is_ok_and(|who| who.uid() == owner || who.uid() == 0) {
                        let message = "at the place where the process that serves this store is expected there is another user's; \
                                       remove the file, and serve the store again";
                        let error = Error::new(ErrorKind::PermissionDenied, message);
                        return Err(error.with("path", path.display()));
                    }
                    let (read, write) = stream.into_split();
                    Ok(Some(Line { read: BufReader::new(read), write }))
                }
                // It has ended, or has been killed.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                    Ok(None)
                }
                Err(error) => Err(failed(&socket, error)),
            }
        }

        /// Borrows the store. Errors: `Unsupported` if it is not lent, since it can be opened.
        pub async fn borrow(mut self) -> Result<Borrowed, Error> {
            self.ask(&Operation::Borrow, &mut |_| {}).await?;
            Borrowed::connect(tokio::io::join(self.read, self.write)).await
        }

        /// Has something done.
        pub async fn ask(&mut self, operation: &Operation, tell: &mut (dyn FnMut(Json) + Send)) -> Result<Json, Error> {
            let mut line = serde_json::to_string(operation).map_err(|error| lost(Some(error.into())))?;
            line.push('\n');
            self.write.write_all(line.as_bytes()).await.map_err(|error| lost(Some(error)))?;
            loop {
                line.clear();
                let read = (&mut self.read).take(LONGEST).read_line(&mut line).await;
                if read.map_err(|error| lost(Some(error)))? == 0 {
                    return Err(lost(None));
                }
                match serde_json::from_str(&line) {
                    Ok(Answer::Moved(moved)) => tell(moved),
                    Ok(Answer::Done(done)) => return Ok(done),
                    Ok(Answer::Failed(failed)) => return Err(failed.into()),
                    Err(error) => return Err(lost(Some(error.into()))),
                }
            }
        }
    }

    fn lost(cause: Option<io::Error>) -> Error {
        let message = "the process that serves this store has ended or does not answer as it should; try again, and if it \
                       still runs, start it again with the same version of this program";
        let error = Error::new(ErrorKind::Closed, message).retry(eidetica::Retry::Later);
        match cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }
}
