//! Starts a host: first everything that can fail, then everything at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use super::{
    Host, Linked, RunningIngester, StartError, Swaps,
    make::{self, ReadySource, prepare},
    problem::Problem,
    swap,
};
use crate::{
    control::{
        Driver, IngesterHandle,
        report::{ControlReport, ControlState},
    },
    events::{HostEvent, News, RingAtEnd},
    forwarder::ForwarderThread,
    names::StreamName,
    observe::{admin::Admin, status::Observer},
    plugin::identity::SourceIdentity,
    settings::Settings,
    threads,
};

impl Host {
    pub(super) fn launch(settings: Settings, linked: Linked) -> Result<Self, StartError> {
        settings.validate_for(|source| linked.sources.contains_key(source))?;
        let mut error = StartError::new();
        let made = make::make_sources(&settings, &linked, &mut error);
        let known = |ready: &ReadySource| (ready.reader.shared.feed(), ready.parameters.clone().unwrap_or_default());
        let feeds: Vec<_> = made.iter().flatten().map(known).collect();
        let (to_host, notices) = mpsc::unbounded_channel();
        let news = News::new();
        let (mut ready, mut handles, mut exchanges) = (Vec::new(), Vec::new(), Vec::new());
        for (ingester, made) in settings.ingesters.iter().zip(made) {
            let prepared = prepare(ingester, made, &settings, to_host.clone(), news.clone()).and_then(
                |(forwarder, handle, exchange)| {
                    ready.push(WaitingIngester::new(forwarder, handle.clone(), news.clone())?);
                    handles.push(handle);
                    exchanges.push(exchange);
                    Ok(())
                },
            );
            if let Err(problem) = prepared {
                error.add(problem);
            }
        }
        let driver = Driver::new(&settings.control).map_err(|text| error.add(Problem::redis(&text)));
        let admin = settings.admin.and_then(|address| {
            Admin::bind(address, settings.admin_search).map_err(|text| error.add(Problem::admin(&text))).ok()
        });
        let runtime = runtime().map_err(|text| error.add(Problem::no_thread(None, &text)));
        let (true, Ok(driver)) = (error.problems().is_empty(), driver) else {
            ready.into_iter().for_each(WaitingIngester::abandon);
            // Dropping it here would panic inside another runtime.
            runtime.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
            return Err(error);
        };
        let Ok(runtime) = runtime else { return Err(error) };
        let ingesters: Vec<_> = ready.into_iter().map(WaitingIngester::run).collect();
        let (stop_control, stop) = watch::channel(false);
        let done = Arc::new(AtomicBool::new(false));
        let (report, control_report) = watch::channel(driver.report());
        let swaps = Arc::new(Swaps::new(&settings, linked, exchanges, feeds, news.clone()));
        let keeper = runtime.spawn(swap::keep(swaps.clone(), notices));
        announce(&handles, &swaps.sources());
        if let Some(address) = settings.admin.filter(|address| !address.ip().is_loopback()) {
            tracing::warn!(
                "admin: other machines can reach {address}, and it asks for no password: it shows names, addresses \
                 and counts (admin_swap sets who may swap sources); use 127.0.0.1 for this machine alone"
            );
        }
        let reports = handles.iter().map(|handle: &IngesterHandle| handle.report.clone()).collect();
        let address = admin.as_ref().and_then(Admin::address);
        let observer = Observer::new(address, swaps.clone(), reports, control_report.clone());
        if let Some(admin) = admin {
            match (settings.admin, address) {
                (Some(wanted), Some(address)) if wanted.port() == 0 => {
                    tracing::info!("admin: status and metrics are at {address}");
                }
                (Some(wanted), Some(address)) if wanted != address => tracing::info!(
                    "admin: {wanted} is taken; status and metrics are at {address}, where `framegate status` looks, too"
                ),
                _ => {}
            }
            runtime.spawn(admin.serve(observer.clone(), settings.admin_swap));
        }
        runtime.spawn(tell_of_control(control_report.clone(), news.clone()));
        let program = driver.program(&handles);
        let control_ended = Arc::new(AtomicBool::new(false));
        let control = {
            let done = done.clone();
            let (ring, ended) = (RingAtEnd(news.clone()), EndedAtEnd(control_ended.clone()));
            runtime.spawn(async move {
                // In this order: the bell rings last.
                let _ring = ring;
                let _ended = ended;
                let ends_by_itself = driver.ends_by_itself();
                driver.run(handles, report, stop).await;
                done.store(ends_by_itself, Ordering::Release);
            })
        };
        Ok(Self {
            ingesters,
            runtime: Some(runtime),
            control: Some(control),
            control_ended,
            program,
            observer,
            news,
            keeper,
            control_report,
            done,
            stop_control,
            grace: settings.shutdown_grace,
            swaps,
        })
    }
}

/// An ingester whose thread is started and waits until everything else has started.
struct WaitingIngester {
    go: std::sync::mpsc::Sender<()>,
    ingester: RunningIngester,
}

impl WaitingIngester {
    fn new(thread: ForwarderThread, handle: IngesterHandle, news: News) -> Result<Self, Problem> {
        let (go, word) = std::sync::mpsc::channel();
        let named = thread.forwarder.named.clone();
        let life = move || {
            let _ring = RingAtEnd(news);
            let _named = named.entered();
            if word.recv().is_ok() {
                thread.run();
            }
        };
        let thread = thread::Builder::new().name(format!("forward {}", handle.name)).spawn(life);
        let thread = thread.map_err(|problem| {
            Problem::ingester(&handle.name, &format!("no thread: {problem}\n  {}", threads::REMEDY))
        })?;
        Ok(Self { go, ingester: RunningIngester { handle, thread: Some(thread) } })
    }

    fn run(self) -> RunningIngester {
        // The thread waits for this message.
        let _ = self.go.send(());
        self.ingester
    }

    /// Ends the thread, so that the port is free again.
    fn abandon(self) {
        drop(self.go);
        let _ = self.ingester.thread.map(thread::JoinHandle::join);
    }
}

/// The runtime of control and the admin endpoint. Tokio panics if it cannot start its first thread, and never runs the
/// tasks of a second one that cannot start. It also panics when it needs a thread for a file or the address of a name,
/// has none and gets none: so one such thread is started at once, and none of them ends.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let built = threads::can_be_had(CONTROL_THREADS + 1).and_then(|()| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(CONTROL_THREADS).thread_name("control").enable_all();
        builder.max_blocking_threads(MOST_BLOCKING).thread_keep_alive(FOR_EVER);
        let runtime = builder.build()?;
        runtime.spawn_blocking(|| {});
        Ok(runtime)
    });
    built.map_err(|problem| format!("control: no thread: {problem}\n  {}", threads::REMEDY))
}

/// Number of threads that control and the admin endpoint share.
const CONTROL_THREADS: usize = 2;
/// Maximum number of threads for files and names; more than one only if a file system or name server hangs.
const MOST_BLOCKING: usize = 8;
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Logs one line for each ingester, before anything starts.
fn announce(ingesters: &[IngesterHandle], sources: &BTreeMap<StreamName, SourceIdentity>) {
    for IngesterHandle { name, url, streams, .. } in ingesters {
        let fed = |stream: &StreamName| {
            let source = sources.get(stream).map_or_else(|| "nothing".to_owned(), ToString::to_string);
            format!("{stream} from {source}")
        };
        let streams: Vec<_> = streams.iter().map(fed).collect();
        tracing::info!("ingester {name} serves workers at {url}: {}", streams.join("; "));
    }
}

/// Tells subscribers of changes in control, until it ends.
async fn tell_of_control(mut report: watch::Receiver<ControlReport>, news: News) {
    let mut before = report.borrow_and_update().state;
    while report.changed().await.is_ok() {
        let (state, why) = {
            let report = report.borrow_and_update();
            (report.state, report.last_problem.as_ref().map(|problem| problem.what.clone()).unwrap_or_default())
        };
        match (before, state) {
            (ControlState::Down, ControlState::Up) => news.tell(HostEvent::RedisBack),
            (ControlState::Down, _) | (_, ControlState::Connecting) => news.ring(),
            (_, ControlState::Down) => news.tell(HostEvent::RedisLost { why }),
            _ => news.ring(),
        }
        before = state;
    }
}

/// Records the end of control when it is dropped.
struct EndedAtEnd(Arc<AtomicBool>);

impl Drop for EndedAtEnd {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
