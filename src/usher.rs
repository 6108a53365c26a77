//! Who lets in those that show an invitation: a task that looks at requests for access whenever there are others, or another user
//! has logged in, and lets each user who is logged in honour invitations of theirs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eidetica_sync::access::Book;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::user::{User, WeakUser};

/// When what has failed, such as for a full disk, is looked at again.
const AGAIN: Duration = Duration::from_secs(5);

/// The sessions of an instance, and the task. It ends when this is dropped.
pub(crate) struct Usher {
    sessions: Arc<Mutex<Vec<WeakUser>>>,
    /// Rings when somebody has logged in.
    bell: watch::Sender<u64>,
    task: Mutex<JoinSet<()>>,
}

impl Usher {
    pub fn new() -> Usher {
        Usher { sessions: Arc::default(), bell: watch::Sender::new(0), task: Mutex::default() }
    }

    /// Looks at the requests of a book from now on, and at those of no other.
    pub fn start(&self, book: Book) {
        let mut task = lock(&self.task);
        task.abort_all();
        task.spawn(run(self.sessions.clone(), book, self.bell.subscribe()));
    }

    /// Somebody has logged in.
    pub fn greet(&self, user: &User) {
        let mut sessions = lock(&self.sessions);
        sessions.retain(|session| session.upgrade().is_some());
        sessions.push(user.downgrade());
        drop(sessions);
        self.bell.send_modify(|rung| *rung = rung.wrapping_add(1));
    }

    /// Ends the task.
    pub async fn end(&self) {
        let mut task = std::mem::take(&mut *lock(&self.task));
        task.shutdown().await;
    }
}

async fn run(sessions: Arc<Mutex<Vec<WeakUser>>>, book: Book, mut bell: watch::Receiver<u64>) {
    let mut requests = book.changes();
    // Requests whose approval has failed, and until when nobody looks at them. Such an approval has changed the request and changed it
    // back: looking at once would go on for ever, and looking at nothing meanwhile would keep all others waiting.
    let mut put_off = BTreeMap::new();
    loop {
        let now = Instant::now();
        put_off.retain(|_, until| *until > now);
        let mut again = None;
        let here: Vec<User> = lock(&sessions).iter().filter_map(WeakUser::upgrade).collect();
        for user in here {
            // Who has logged out meanwhile is told so, and that is well.
            if let Err(error) = user.honour_invitations(&book, &mut put_off, now + AGAIN).await {
                tracing::debug!(%error, user = user.name(), "invitations were not all honoured");
                again = Some(now + AGAIN);
            }
        }
        let next = put_off.values().copied().chain(again).min();
        let more = tokio::select! {
            biased;
            more = requests.changed() => more,
            more = bell.changed() => more,
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => Ok(()),
        };
        if more.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
