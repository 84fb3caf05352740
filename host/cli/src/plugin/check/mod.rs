//! `framegate plugin check PATH`: does a plugin keep the rules of the interface?
//!
//! The parent, on the main thread, reads the file (gates 1 and 2) and starts a child process for each check that runs code of
//! the plugin: a crash or hang affects only one check. This file has the command, the start of the child, and the final output.
//!
//! Neighbours: `catalog` lists the checks; `life`, `calls` and `data` implement them; `bench` calls the plugin, `upstream`
//! simulates its detector.

mod bench;
mod calls;
mod capture;
mod catalog;
mod data;
mod feed;
mod junk;
mod life;
mod play;
mod process;
mod redirect;
mod report;
mod upstream;
mod verdict;

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use framegate::{
    names::PluginReference,
    plugin::{
        self, Code, Trust,
        child::{self, Answers, Limits},
    },
};
use framegate_plugin_abi::caller::Fault;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::{
    bench::Bench,
    capture::Capture,
    catalog::{CHECKS, Check, Of},
    report::CheckReport,
    upstream::Kind,
    verdict::Verdict,
};
use crate::{FAILURE, REFUSED, WRONG_SETTINGS, fail, out};

/// Test a plugin: which rules of the interface does it keep?
///
/// Runs the plugin in child processes, against a detector that is played: every address and port in its settings is
/// replaced by a free one of this machine, so it contacts no real detector and binds no real port.
/// docs/write-a-source/plugin-check.md explains every check.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 when every check that could be made has passed; 3 when the plugin is refused before it runs, as by a host; 1 when another \
check has failed, or with --strict could not be made; 2 when the command line is wrong.")]
pub(super) struct Args {
    /// The plugin's .so file, or its name
    path: String,
    /// The settings of a stream that works, as JSON. Default: {}, or an upstream_url if the plugin asks for one
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,
    /// A capture to play as the detector (as `framegate replay` plays it): a dump of events must come out as it went in
    #[arg(long, value_name = "CAPTURE")]
    against: Option<PathBuf>,
    /// A command for the shell that plays the detector and ends; {port} in it is replaced by the port that the source has here
    #[arg(long, value_name = "COMMAND", conflicts_with = "against")]
    feed: Option<String>,
    /// A check that this source needs and that could not be made is a failure, too
    #[arg(long)]
    strict: bool,
    /// Print for each check that has passed a whole sentence, and what was seen
    #[arg(long, conflicts_with = "json")]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Repeat everything a tenth as often
    #[arg(long)]
    quick: bool,
}

/// The child's role.
pub(super) const ROLE: &str = "check";

/// The child's task, and what a child has found out about the source.
#[derive(Serialize, Deserialize)]
struct Task {
    path: PathBuf,
    /// Hash of the file that the parent has inspected.
    sha256: String,
    /// A check's name; none: find out how the source works.
    check: Option<String>,
    /// The given settings, or the minimum that the plugin needs.
    settings: Value,
    /// How the source takes its input.
    upstream: Kind,
    /// Whether the source is asked for each event, once that is known.
    on_demand: Option<bool>,
    against: Option<PathBuf>,
    /// A command that plays the detector.
    feed: Option<String>,
    quick: bool,
}

/// Runs all checks.
pub(super) fn run(args: &Args, trust: Trust<'_>) -> anyhow::Result<ExitCode> {
    let settings = match args.settings.as_deref().map(serde_json::from_str::<Value>) {
        None => None,
        Some(Ok(settings @ Value::Object(_))) => Some(settings),
        Some(Ok(_)) => return Ok(fail(&["--settings: expected a JSON object, {\"…\": …}"], WRONG_SETTINGS)),
        Some(Err(problem)) => return Ok(fail(&[format!("--settings: not JSON: {problem}")], WRONG_SETTINGS)),
    };
    if let Some(path) = &args.against {
        Capture::read(path, usize::MAX)?;
    }
    let reference = PluginReference::parse(&args.path);
    let trust = Trust { pin: reference.pin, ..trust };
    let inspected = plugin::find(&reference, &[]).and_then(|path| plugin::inspect(&path, trust));
    let mut report = CheckReport::new(&args.path, inspected.as_ref().ok());
    (report.strict, report.verbose) = (args.strict, args.verbose);
    let (path, sha256) = match &inspected {
        Ok(inspected) => (std::path::absolute(&inspected.path)?, inspected.sha256.clone()),
        // Then no child is asked.
        Err(_) => Default::default(),
    };
    let mut task = Task {
        path,
        sha256,
        check: None,
        settings: settings.unwrap_or_else(|| json!({})),
        upstream: Kind::None,
        on_demand: None,
        against: args.against.as_deref().map(std::path::absolute).transpose()?,
        feed: args.feed.clone(),
        quick: args.quick,
    };
    let current = ProgressBar::new_spinner();
    for check in CHECKS {
        current.set_message(check.name);
        if check.name == catalog::CREATE && report.has_passed(catalog::LAYOUT) {
            task.check = None;
            // An error is left to the check itself.
            if let Ok(found) = ask::<Task>(&task, LOOK, true) {
                task = found;
            }
        }
        let began = Instant::now();
        let verdict = match (check.name, &inspected) {
            (catalog::FILE, Ok(inspected)) => Verdict::Passed { seen: format!("sha256 {:.12}…", inspected.sha256) },
            (catalog::VERSION, Ok(inspected)) => {
                Verdict::Passed { seen: format!("{}.{}", inspected.note.abi.0, inspected.note.abi.1) }
            }
            (catalog::FILE, Err(refusal)) if refusal.code == Code::Version => Verdict::Passed { seen: String::new() },
            (catalog::FILE, Err(refusal)) => refusal.into(),
            (catalog::VERSION, Err(refusal)) if refusal.code == Code::Version => refusal.into(),
            _ => verdict(check, &mut task, &report),
        };
        report.results.push((verdict, began.elapsed()));
    }
    current.finish_and_clear();
    out::line(if args.json { format!("{:#}", report.json(&task)) } else { report.text(&task) })?;
    Ok(match report.first_failed() {
        None if report.missed().is_empty() => ExitCode::SUCCESS,
        None => FAILURE.into(),
        Some(catalog::FILE | catalog::VERSION | catalog::LAYOUT) => REFUSED.into(),
        Some(_) => FAILURE.into(),
    })
}

/// Runs one check in a child, if it can be run.
fn verdict(check: &Check, task: &mut Task, report: &CheckReport) -> Verdict {
    let not_checked = |why: &str, applies| Verdict::NotChecked { why: why.into(), applies };
    match check.needs {
        Some(needed) if !report.has_passed(needed) => not_checked(&format!("it needs `{needed}`"), true),
        _ if check.of == Of::Giving && task.on_demand == Some(true) => {
            not_checked("the source is asked for each event", false)
        }
        _ if check.of == Of::OnDemand && task.on_demand != Some(true) => {
            not_checked("the source gives events by itself", false)
        }
        _ => {
            task.check = Some(check.name.to_owned());
            ask::<Verdict>(task, check.limit, false).unwrap_or_else(Verdict::from)
        }
    }
}

fn ask<A: serde::de::DeserializeOwned>(task: &Task, time: Duration, for_each_step: bool) -> Result<A, child::NoAnswer> {
    // This program itself, even if its file was replaced since.
    let mut command = Command::new("/proc/self/exe");
    // Freed memory is overwritten, so that a frame in it is detected (mallopt(3)).
    command.env("MALLOC_PERTURB_", "165");
    child::ask(&mut command, ROLE, task, Limits { time, for_each_step, memory: child::MEMORY })
}

/// The child: loads the plugin, runs one check, answers.
pub(super) fn child() -> anyhow::Result<()> {
    let (answers, task): (Answers, Task) = Answers::begin()?;
    answers.step("loading");
    let trust = Trust { allow_writable: true, from_outside: false, pin: Some(&task.sha256) };
    let inspected = plugin::inspect(&task.path, trust);
    let loaded = inspected.and_then(|inspected| plugin::load(&inspected, Box::leak(Box::default())));
    let plugin = match loaded {
        Ok(plugin) => plugin,
        Err(refusal) => {
            answers.answer(Verdict::from(&refusal));
            return Ok(());
        }
    };
    let most = if task.quick { 50 } else { 5000 };
    let capture = task.against.as_deref().map(|path| Capture::read(path, most)).transpose()?;
    let check = task.check.clone();
    let mut bench = Bench { plugin, task, capture, answers };
    match check {
        None => {
            look(&mut bench)?;
            bench.answers.answer(&bench.task);
        }
        Some(name) => {
            let check = CHECKS.iter().find(|check| check.name == name).context("there is no such check")?;
            bench.answers.answer(Verdict::from((check.run)(&bench)));
        }
    }
    Ok(())
}

/// Finds out how the source works: its minimum settings, and how it takes its input.
fn look(bench: &mut Bench) -> anyhow::Result<()> {
    if bench.task.settings == json!({})
        && let Ok((Err(Fault::Source(error)), _)) = bench.create_with("{}")
        && error.message().contains(ADDRESS)
    {
        bench.task.settings = json!({ ADDRESS: "tcp://127.0.0.1:9999" });
    }
    let wrong = |wrong| anyhow::anyhow!("{wrong:?}");
    let mut trial = bench.create().map_err(wrong)?;
    let on_demand = trial.instance.on_demand();
    trial.open().map_err(wrong)?;
    let connects = !trial.ports.is_empty() && !on_demand;
    let mut upstream = if !process::listening().is_empty() {
        Kind::Listens
    } else if !process::receiving().is_empty() {
        Kind::Datagrams
    } else {
        Kind::None
    };
    trial.destroy().map_err(wrong)?;
    if connects && upstream == Kind::None {
        for kind in [Kind::Tcp, Kind::Push, Kind::Pub] {
            let mut trial = bench.create().map_err(wrong)?;
            let (mut detector, met) = play::open_with(&mut trial, kind).map_err(wrong)?;
            // A ZeroMQ source also connects to plain TCP, and a plain TCP source must not get a ZeroMQ greeting.
            if met && !(kind == Kind::Tcp && detector.speaks_zmq()) {
                upstream = kind;
                break;
            }
            if !met && kind == Kind::Tcp {
                break;
            }
        }
    }
    (bench.task.upstream, bench.task.on_demand) = (upstream, Some(on_demand));
    Ok(())
}

/// The usual setting for the detector's address, as in dranspose.
const ADDRESS: &str = "upstream_url";
/// For each call of the source, because the other checks depend on all of them and a busy machine takes long.
const LOOK: Duration = Duration::from_secs(20);
