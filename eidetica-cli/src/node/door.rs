//! The local socket of the process that serves a store, through which other commands speak to it.

#[cfg(unix)]
pub use unix::{Door, Served};

/// Nobody can be let in here: commands then talk with peers by themselves.
#[cfg(not(unix))]
pub struct Door;

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use eidetica::sync::Syncer;
    use eidetica::{Error, ErrorKind, Instance};
    use eidetica_backend_lent::Lender;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::sync::{Notify, mpsc};
    use tokio::task::JoinSet;

    use super::super::post::Post;
    use super::super::spoken::{Answer, LONGEST, NOT_LENT, Operation};
    use super::super::work;

    /// How many commands are let in at once.
    const MOST: usize = 64;

    /// The open socket. Dropping it ends what commands have asked for.
    pub struct Door {
        listener: UnixListener,
        path: PathBuf,
        /// The user of this machine who may come in.
        owner: u32,
        inside: JoinSet<()>,
        served: Served,
        stop: Arc<Notify>,
        _post: Post,
    }

    /// What commands work on.
    #[derive(Clone)]
    pub struct Served {
        pub instance: Instance,
        pub sync: Syncer,
        /// Lends the store, if commands cannot open it themselves.
        pub lender: Option<Lender>,
    }

    impl Door {
        /// Opens the socket for the store in a file.
        pub fn open(mut post: Post, store: &Path, served: Served) -> Result<Door, Error> {
            let path = post.socket(store)?;
            let opened = (|| {
                let listener = UnixListener::bind(&path)?;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
                Ok((listener, std::fs::metadata(&path)?.uid()))
            })();
            let (listener, owner) = opened.map_err(|error: std::io::Error| {
                let message = "the local socket for other commands cannot be opened; check that the directory of the store \
                               can be written";
                Error::new(ErrorKind::Io, message).with("path", path.display()).caused_by(error)
            })?;
            post.announce(&path)?;
            Ok(Door { listener, path, owner, inside: JoinSet::new(), served, stop: Arc::default(), _post: post })
        }

        /// Lets commands in until one of them wants the process to stop.
        pub async fn let_in(&mut self) {
            loop {
                tokio::select! {
                    () = self.stop.notified() => return,
                    Some(_) = self.inside.join_next() => {}
                    accepted = self.listener.accept(), if self.inside.len() < MOST => match accepted {
                        Ok((stream, _)) if self.may_enter(&stream) => {
                            self.inside.spawn(serve(stream, self.served.clone(), self.stop.clone()));
                        }
                        Ok(_) => tracing::warn!("another user of this machine was not let in"),
                        Err(error) => {
                            tracing::warn!(%error, "a command could not be let in");
                            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        }
                    },
                }
            }
        }

        /// The socket has another mode for a moment, before it is 0600; so it is asked who comes.
        fn may_enter(&self, stream: &UnixStream) -> bool {
            stream.peer_cred().is_ok_and(|who| who.uid() == self.owner || who.uid() == 0)
        }
    }

    impl Drop for Door {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Serves one command until it goes.
    async fn serve(stream: UnixStream, served: Served, stop: Arc<Notify>) {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        loop {
            let mut line = String::new();
            match (&mut read).take(LONGEST).read_line(&mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let operation = match serde_json::from_str(&line) {
                Ok(operation) => operation,
                Err(error) => {
                    let message = "the process that serves this store does not understand the command; start it again with \
                                   the version of this program that the command has";
                    let error = Error::new(ErrorKind::Unsupported, message).caused_by(error);
                    let _ = say(&mut write, &Answer::Failed((&error).into())).await;
                    return;
                }
            };
            if matches!(operation, Operation::Stop) {
                let _ = say(&mut write, &Answer::Done(serde_json::Value::Null)).await;
                stop.notify_one();
                return;
            }
            if matches!(operation, Operation::Borrow) {
                return lend(served.lender, read, write).await;
            }
            let (told, mut tell) = mpsc::channel(256);
            let mut told = move |moved| {
                // Who reads too slowly misses some; the next one tells more.
                let _ = told.try_send(moved);
            };
            let work = work::run(&served.instance, Some(&served.sync), false, operation, &mut told);
            tokio::pin!(work);
            let answer = loop {
                tokio::select! {
                    biased;
                    Some(moved) = tell.recv() => if say(&mut write, &Answer::Moved(moved)).await.is_err() { return },
                    // Nothing is said meanwhile: the command has gone.
                    _ = read.fill_buf() => return,
                    result = &mut work => break match result {
                        Ok(done) => Answer::Done(done),
                        Err(error) => Answer::Failed((&error).into()),
                    },
                }
            };
            while let Ok(moved) = tell.try_recv() {
                if say(&mut write, &Answer::Moved(moved)).await.is_err() {
                    return;
                }
            }
            if say(&mut write, &answer).await.is_err() {
                return;
            }
        }
    }

    /// Lends the store until the command goes.
    async fn lend(lender: Option<Lender>, read: BufReader<OwnedReadHalf>, mut write: OwnedWriteHalf) {
        let Some(lender) = lender else {
            let error = Error::new(ErrorKind::Unsupported, "several processes may open this store, so it is not lent");
            let error = error.with("reason", NOT_LENT);
            let _ = say(&mut write, &Answer::Failed((&error).into())).await;
            return;
        };
        if say(&mut write, &Answer::Done(serde_json::Value::Null)).await.is_err() {
            return;
        }
        if let Err(error) = lender.serve(tokio::io::join(read, write)).await {
            tracing::warn!(%error, "a command that works on this store was cut off");
        }
    }

    async fn say(write: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        write.write_all(&line).await
    }
}
