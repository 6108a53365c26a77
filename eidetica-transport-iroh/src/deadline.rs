//! Points in time that lie ahead.

use std::time::Duration;

use tokio::time::Instant;

/// When so much time has passed; what lies beyond every clock becomes a year.
pub(crate) fn after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now + Duration::from_secs(365 * 24 * 3600))
}
