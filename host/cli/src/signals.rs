//! SIGINT and SIGTERM request a stop; the second one ends the process at once. SIGHUP never ends an ingester, and makes
//! `framegate run` read its configuration file again.
//!
//! A separate thread waits for them, so that they are handled even if other threads are blocked.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether a stop was requested. Clones share the state.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    /// The thread to wake.
    main: thread::Thread,
}

/// What SIGHUP does.
type OnHangup = Box<dyn Fn() + Send>;

impl Stop {
    /// Listens from now on; SIGINT and SIGTERM wake the calling thread. SIGHUP calls `hangup`, which must not block: the
    /// same thread waits for all signals. Without `hangup`, SIGHUP ends the process.
    ///
    /// An ingester must survive it: closing a terminal sends SIGHUP, and so does a service manager that requests a
    /// reload.
    ///
    /// # Errors
    /// The operating system refused.
    pub(crate) fn listen(hangup: Option<OnHangup>) -> io::Result<Self> {
        let stop = Self { asked: Arc::default(), main: thread::current() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _inside = runtime.enter();
            // With a handler this signal does not end the process: a write beyond RLIMIT_FSIZE then fails, as on a full disk.
            let _ = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
            let hangup = match hangup {
                Some(call) => Some((signal(SignalKind::hangup())?, call)),
                None => None,
            };
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hangup)
        };
        let heard = stop.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    let status = tokio::select! {
                        _ = interrupt.recv() => 130,
                        _ = terminate.recv() => 143,
                        () = next(&mut hangup) => continue,
                    };
                    if heard.asked.swap(true, Ordering::SeqCst) {
                        std::process::exit(status);
                    }
                    heard.main.unpark();
                }
            });
        })?;
        Ok(stop)
    }

    /// Whether a stop was requested.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits for a signal, at most for `most`. [the thread that called `listen`]
    pub(crate) fn wait(&self, most: Duration) {
        if !self.is_asked() {
            thread::park_timeout(most);
        }
    }
}

/// Calls the handler at the next SIGHUP; waits for ever if there is none.
async fn next(hangup: &mut Option<(Signal, OnHangup)>) {
    match hangup {
        Some((signal, call)) => {
            signal.recv().await;
            call();
        }
        None => std::future::pending().await,
    }
}
