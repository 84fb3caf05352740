//! Checks whether threads can be started, before calling a library that panics or hangs without them.

use std::{
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::gettid;

/// Starts this many threads at once, and ends them.
///
/// # Errors
/// The system refuses one of them: a limit of the user (RLIMIT_NPROC), of the container (pids), or memory.
pub fn can_be_had(count: usize) -> io::Result<()> {
    let (gate, ids) = (Mutex::new(()), Mutex::new(Vec::new()));
    let life = || {
        lock(&ids).push(gettid().to_string());
        drop(lock(&gate));
    };
    let had = thread::scope(|scope| {
        let _closed = lock(&gate);
        (0..count).try_for_each(|_| thread::Builder::new().spawn_scoped(scope, life).map(drop))
    });
    // A joined thread counts toward the limit until the kernel has removed it.
    let tasks = Path::new("/proc/self/task");
    let deadline = Instant::now() + Duration::from_millis(100);
    while lock(&ids).iter().any(|id| tasks.join(id).exists()) && Instant::now() < deadline {
        thread::park_timeout(Duration::from_millis(1));
    }
    had
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The remedy if no thread can be started.
pub const REMEDY: &str =
    "raise the limit of this user's threads (`ulimit -u`), of the service (TasksMax) or of the container (pids)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_can_be_had_are_ended_again() {
        can_be_had(3).unwrap();
    }
}
