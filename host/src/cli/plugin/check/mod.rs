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
use framegate_plugin_abi::caller::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::{
    bench::Bench,
    capture::Capture,
    catalog::{CHECKS, Check, Of},
    report::{CheckReport, CheckResult},
    upstream::Kind,
    verdict::Verdict,
};
use crate::{
    cli::{FAILURE, REFUSED, WRONG_SETTINGS, fail, out},
    names::PluginReference,
    plugin::{
        child::{self, Answers, Limits},
        inspect::{self, Inspected, Trust},
        load, locate,
        refusal::Code,
    },
};

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

/// The child's task.
#[derive(Serialize, Deserialize)]
struct Task {
    path: PathBuf,
    /// Hash of the file that the parent has inspected.
    sha256: String,
    /// A check's name; none: find out how the source works.
    check: Option<String>,
    settings: Value,
    upstream: Kind,
    against: Option<PathBuf>,
    feed: Option<String>,
    quick: bool,
}

/// The child's findings about the source.
#[derive(Serialize, Deserialize)]
struct Facts {
    settings: Value,
    upstream: Kind,
    on_demand: bool,
}

/// Runs all checks.
pub(super) fn run(args: &Args, trust: Trust<'_>) -> anyhow::Result<ExitCode> {
    let settings = match args.settings.as_deref().map(serde_json::from_str::<Value>) {
        None => None,
        Some(Ok(settings @ Value::Object(_))) => Some(settings),
        Some(Ok(_)) => return Ok(fail(&["--settings: expected a JSON object, {\"…\": …}".into()], WRONG_SETTINGS)),
        Some(Err(problem)) => return Ok(fail(&[format!("--settings: not JSON: {problem}")], WRONG_SETTINGS)),
    };
    if let Some(path) = &args.against {
        Capture::read(path, usize::MAX)?;
    }
    let plugin = PluginReference::parse(&args.path);
    let inspected =
        locate::find(&plugin, &[]).and_then(|path| inspect::inspect(&path, Trust { pin: plugin.pin, ..trust }));
    let mut report = CheckReport::new(&args.path, inspected.as_ref().ok());
    (report.strict, report.verbose) = (args.strict, args.verbose);
    let inspected = match inspected {
        Ok(inspected) => {
            report.add(catalog::FILE, Verdict::Passed { seen: format!("sha256 {:.12}…", inspected.sha256) });
            report.add(
                catalog::VERSION,
                Verdict::Passed { seen: format!("{}.{}", inspected.note.abi.0, inspected.note.abi.1) },
            );
            Some(inspected)
        }
        Err(refusal) => {
            if refusal.code() == Code::Version {
                report.add(catalog::FILE, Verdict::Passed { seen: String::new() });
                report.add(catalog::VERSION, (&refusal).into());
            } else {
                report.add(catalog::FILE, (&refusal).into());
            }
            None
        }
    };
    if let Some(inspected) = &inspected {
        let given = settings.clone().unwrap_or_else(|| json!({}));
        let mut task = Task {
            path: std::path::absolute(&inspected.path)?,
            sha256: inspected.sha256.clone(),
            check: None,
            settings: given,
            upstream: Kind::None,
            against: args.against.as_deref().map(std::path::absolute).transpose()?,
            feed: args.feed.clone(),
            quick: args.quick,
        };
        let mut on_demand = None;
        for check in CHECKS {
            if report.has(check.name) {
                continue;
            }
            if check.name == catalog::CREATE && report.has_passed(catalog::LAYOUT) {
                task.check = None;
                // An error is left to the check itself.
                if let Ok(facts) = ask::<Facts>(&task, LOOK, true) {
                    (task.settings, task.upstream, on_demand) = (facts.settings, facts.upstream, Some(facts.on_demand));
                    report.settings = Some(task.settings.clone());
                    report.upstream = Some(task.upstream);
                }
            }
            one(check, &mut task, on_demand, &mut report);
        }
    }
    report.fill_up();
    out::line(if args.json { format!("{:#}", report.json()) } else { report.text() })?;
    Ok(match report.first_failed() {
        None if report.missed().is_empty() => ExitCode::SUCCESS,
        None => FAILURE.into(),
        Some(catalog::FILE | catalog::VERSION | catalog::LAYOUT) => REFUSED.into(),
        Some(_) => FAILURE.into(),
    })
}

/// Runs one check in a child, if it can be run.
fn one(check: &Check, task: &mut Task, on_demand: Option<bool>, report: &mut CheckReport) {
    let began = Instant::now();
    let verdict = if check.needs.is_some_and(|needed| !report.has_passed(needed)) {
        Verdict::NotChecked { why: format!("it needs `{}`", check.needs.unwrap_or_default()), applies: true }
    } else if check.of == Of::Giving && on_demand == Some(true) {
        Verdict::NotChecked { why: "the source is asked for each event".into(), applies: false }
    } else if check.of == Of::OnDemand && on_demand != Some(true) {
        Verdict::NotChecked { why: "the source gives events by itself".into(), applies: false }
    } else {
        task.check = Some(check.name.to_owned());
        report.is_at(check.name);
        ask::<Verdict>(task, check.limit, false).unwrap_or_else(Verdict::from)
    };
    report.results.push(CheckResult { check: check.name, verdict, took: began.elapsed() });
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
    let inspected = inspect::inspect(&task.path, trust);
    let loaded = inspected.and_then(|inspected: Inspected| load::load(&inspected, Box::leak(Box::default())));
    let plugin = match loaded {
        Ok(plugin) => plugin,
        Err(refusal) => {
            answers.answer(Verdict::from(&refusal));
            return Ok(());
        }
    };
    let most = if task.quick { 50 } else { 5000 };
    let capture = task.against.as_deref().map(|path| Capture::read(path, most)).transpose()?;
    let Task { settings, upstream, feed, quick, check, .. } = task;
    let mut bench = Bench { plugin, settings, upstream, capture, feed, quick, answers };
    match check {
        None => {
            let facts = look(&mut bench);
            bench.answers.answer(facts?);
        }
        Some(name) => {
            let check = CHECKS.iter().find(|check| check.name == name).context("there is no such check")?;
            bench.answers.answer(Verdict::from((check.run)(&bench)));
        }
    }
    Ok(())
}

/// Finds out how the source works: its minimum settings, and how it takes its input.
fn look(bench: &mut Bench) -> anyhow::Result<Facts> {
    if bench.settings == json!({})
        && let Ok((Err(Fault::Source(error)), _)) = bench.create_with("{}")
        && error.message().contains(ADDRESS)
    {
        bench.settings = json!({ ADDRESS: "tcp://127.0.0.1:9999" });
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
    Ok(Facts { settings: bench.settings.clone(), upstream, on_demand })
}

/// The usual setting for the detector's address, as in dranspose.
const ADDRESS: &str = "upstream_url";
/// For each call of the source, because the other checks depend on all of them and a busy machine takes long.
const LOOK: Duration = Duration::from_secs(20);
