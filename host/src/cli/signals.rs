//! SIGINT and SIGTERM, which ask to stop; the second ends the process at once. SIGHUP, which never ends an ingester.
//!
//! A thread of its own waits for them, so that they are heard whatever the other threads do.

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

/// Whether the process was asked to stop. Clones see the same.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    /// Woken when it is.
    main: thread::Thread,
}

impl Stop {
    /// Listens from now on; the thread that calls it is woken by a signal.
    ///
    /// # Errors
    /// The operating system refused.
    pub(crate) fn listen() -> io::Result<Self> {
        Self::start(false)
    }

    /// The same; SIGHUP is logged, and ends nothing: a terminal that is closed, and a service manager that asks for a reload, send it.
    ///
    /// # Errors
    /// The operating system refused.
    pub(crate) fn listen_beyond_hangup() -> io::Result<Self> {
        Self::start(true)
    }

    fn start(hears_hangup: bool) -> io::Result<Self> {
        let stop = Self { asked: Arc::default(), main: thread::current() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _inside = runtime.enter();
            // Whoever hears this one is not ended by it: a write beyond RLIMIT_FSIZE fails then, as on a full disk.
            let _ = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
            let hangup = hears_hangup.then(|| signal(SignalKind::hangup())).transpose()?;
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hangup)
        };
        let heard = stop.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    let status = tokio::select! {
                        _ = interrupt.recv() => 130,
                        _ = terminate.recv() => 143,
                        () = next(&mut hangup) => {
                            tracing::info!("SIGHUP: this ingester has no configuration file to read again; nothing changes");
                            continue;
                        }
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

    /// Whether it was asked to stop.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits for a signal, but not longer than `most`. [the thread that called `listen`]
    pub(crate) fn wait(&self, most: Duration) {
        if !self.is_asked() {
            thread::park_timeout(most);
        }
    }
}

/// The next one; never, if nobody listens for them.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
