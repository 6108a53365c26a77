//! How many connections the files of this process allow.

/// No more connections than half of the files that this process may have open, and one at least. The others are for its
/// stores, and for its own calls; without any left, nobody could be taken in, not even in the place of who is silent.
pub(crate) fn affordable(connections: usize) -> usize {
    match most() {
        Some(files) => connections.min(usize::try_from(files / 2).unwrap_or(usize::MAX)).max(1),
        None => connections,
    }
}

/// How many files may be open, if that is bounded.
#[cfg(unix)]
fn most() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn most() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_files_are_kept_for_others() {
        assert_eq!(affordable(1), 1);
        let most = most().map_or(usize::MAX, |files| (files / 2) as usize);
        assert_eq!(affordable(usize::MAX), most);
    }
}
