//! `framegate swap`: switches a stream of a running framegate to another source, from the next scan on.
//!
//! Runs on the main thread; sends the request to the admin endpoint, and follows the swap's receipt there.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use framegate::names::PluginReference;
use serde_json::{Value, json};

use super::{
    FAILURE, REFUSED, WRONG_SETTINGS,
    endpoint::{self, Endpoint, RunningHost},
    fail, out,
    signals::Stop,
    words::{plain, plain_lines},
};

/// Swap the source of a stream, from the next scan on.
///
/// The running framegate finds, checks and loads the plugin and creates the source, while the old source keeps running.
/// If anything fails, nothing changes. A running scan is not disturbed: the new source takes over when the next scan
/// starts. If two swaps of a stream wait, the later one wins. `framegate status` shows swaps that wait.
///
/// Without a controller a scan ends when all its sources have ended. If a detector sends no end, the scan does not end,
/// and the swap waits: set the new source in the configuration and restart framegate.
///
/// After a restart the stream has the source of the configuration again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framegate swap camera /opt/plugins/libmine.so
  framegate swap camera mine --settings '{\"upstream_url\": \"tcp://detector:9999\"}' --wait
  framegate swap camera ./libmine.so#sha256:9f86d0...     only this content

Exit status: 0 the source is ready (with --wait: it took over, and all frames of the old one are released); 1 no \
answer, or a later swap overrides it; 2 no such stream, or settings that the source does not accept; 3 the plugin \
was refused.")]
pub(crate) struct Args {
    /// The stream
    stream: String,
    /// The new source: the name of a plugin, a path to its file, or a class of dranspose
    source: String,
    /// The source's own settings, a JSON object; default: the stream's present settings
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,
    /// Wait until the new source has taken over and all frames of the old one are released
    #[arg(long)]
    wait: bool,
    /// Print receipts as they come, in JSON, one a line
    #[arg(long)]
    json: bool,
    /// Where the admin endpoint is: http://host:port or host:port; else the variable FRAMEGATE_ADMIN; else the framegate at
    /// 127.0.0.1, ports 9180 to 9189, that has the stream
    #[arg(long, value_name = "URL", value_parser = endpoint::url)]
    url: Option<String>,
}

/// Requests the swap, and reports its progress.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = match args.settings.as_deref().map(object) {
        None => None,
        Some(Ok(settings)) => Some(settings),
        Some(Err(why)) => return Ok(fail(&[format!("--settings: {why}")], WRONG_SETTINGS)),
    };
    let stop = Stop::listen(None)?;
    let endpoint = match Endpoint::named(args.url.as_deref())? {
        Some(endpoint) => endpoint,
        None => match choose(RunningHost::all()?, &args.stream) {
            Ok(found) => found.endpoint,
            Err(why) => return Ok(fail(&[why], WRONG_SETTINGS)),
        },
    };
    let request = json!({
        "stream": args.stream, "source": absolute(&args.source), "settings": settings, "from_command": true,
    });
    let mut receipt = match endpoint.post("/swaps", &request)? {
        (202, body) => parse(&body)?,
        (status, body) => {
            let why = parse(&body).ok().and_then(|body| Some(plain_lines(body["error"].as_str()?)));
            let why = why.unwrap_or_else(|| format!("HTTP status {status}; is that framegate's admin endpoint?"));
            return Ok(fail(&[why], if matches!(status, 400 | 404) { WRONG_SETTINGS } else { FAILURE }));
        }
    };
    let address = format!("/swaps/{}", receipt["number"]);
    let mut told = Vec::new();
    let mut is_pending = false;
    let mut gone_since = None;
    loop {
        // All new steps: a scan may have started between two polls.
        for step in if args.json { vec![receipt.to_string()] } else { steps(&receipt) } {
            if !told.contains(&step) {
                out::line(&step)?;
                told.push(step);
            }
        }
        if receipt["state"] == "pending" && !args.json && !std::mem::replace(&mut is_pending, true) {
            let host = RunningHost::of(endpoint.clone()).ok();
            if let Some(note) = host.and_then(|host| no_end(&host.status, &receipt)) {
                out::line(note)?;
            }
        }
        match receipt["state"].as_str() {
            Some("refused") => {
                let status = if receipt["problem_with"] == "settings" { WRONG_SETTINGS } else { REFUSED };
                let problem = plain_lines(receipt["problem"].as_str().unwrap_or("refused"));
                return Ok(fail(&[problem], status));
            }
            Some("superseded") => {
                let by = &receipt["superseded_by"];
                return Ok(fail(&[format!("swap {by}, which was requested later, overrides this one")], FAILURE));
            }
            Some("pending") if !args.wait => return Ok(ExitCode::SUCCESS),
            Some("effective") if !args.wait || receipt["old"]["settled_at"].is_string() => {
                return Ok(ExitCode::SUCCESS);
            }
            _ => {}
        }
        stop.wait(EVERY);
        if stop.is_asked() {
            bail!("stopped waiting; the swap continues, and `framegate status` shows its progress");
        }
        // A single failed answer does not mean that framegate has ended.
        match endpoint.get(&address) {
            Ok((200, body)) => {
                receipt = parse(&body)?;
                gone_since = None;
            }
            Ok((_, body)) => bail!("the receipt is gone: {body}"),
            Err(problem) if gone_since.get_or_insert_with(Instant::now).elapsed() > GONE => return Err(problem),
            Err(_) => {}
        }
    }
}

/// The framegate that has the stream.
fn choose(mut hosts: Vec<RunningHost>, stream: &str) -> Result<RunningHost, String> {
    if hosts.len() == 1 {
        return Ok(hosts.remove(0));
    }
    let list = hosts.iter().map(|host| format!("\n  {}", host.line())).collect::<String>();
    let mut having = hosts.into_iter().filter(|host| host.streams().any(|name| name == stream));
    match (having.next(), having.next()) {
        (Some(host), None) => Ok(host),
        (None, _) => Err(format!("no framegate process on this machine has a stream {stream:?}:{list}")),
        (Some(_), Some(_)) => {
            Err(format!("several framegate processes have a stream {stream:?}; choose one with --url:{list}"))
        }
    }
}

fn parse(body: &str) -> anyhow::Result<Value> {
    serde_json::from_str(body).context("the answer is not from framegate")
}

fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err("expected an object of JSON, such as {\"key\": \"value\"}".to_owned()),
        Err(problem) => Err(format!("not JSON: {problem}")),
    }
}

/// A relative path is relative to the current directory, not to the directory of the running framegate.
fn absolute(source: &str) -> String {
    let plugin = PluginReference::parse(source);
    match std::path::absolute(plugin.what) {
        Ok(path) if plugin.is_path() => PluginReference { what: &path.to_string_lossy(), ..plugin }.to_string(),
        _ => source.to_owned(),
    }
}

/// Why the swap may wait for ever, and what to do: without a controller only the sources end a scan, and a source does
/// not know whether its detector will send an end.
fn no_end(status: &Value, receipt: &Value) -> Option<String> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let waits = |source: &Value| source["stream"] == receipt["stream"] && source["pending"].is_u64();
    if status["control"]["driver"] != "standalone" || !list(&status["sources"]).iter().any(waits) {
        return None;
    }
    let ingesters = list(&status["ingesters"]);
    let streams = ingesters.iter().filter_map(|ingester| ingester["streams"].as_object()).flatten();
    let is_open =
        |stream: &Value| stream["active"] == true && matches!(stream["source"].as_str(), Some("opening" | "open"));
    let open: Vec<_> = streams.filter(|(_, stream)| is_open(stream)).map(|(name, _)| plain(name)).collect();
    (!open.is_empty()).then(|| {
        format!(
            "{}: this scan has no end in sight. Without a controller it ends when all its sources have ended; not ended \
             yet: {}\n  if a detector sends no end, set the new source in the configuration and restart framegate",
            title(receipt),
            open.join(", ")
        )
    })
}

/// The swap's number and stream.
fn title(receipt: &Value) -> String {
    format!("swap {} of stream {}", receipt["number"], plain(receipt["stream"].as_str().unwrap_or("?")))
}

/// The progress of the swap, for a person: every completed step.
fn steps(receipt: &Value) -> Vec<String> {
    let text = |value: &Value| plain(value.as_str().unwrap_or("?"));
    let swap = title(receipt);
    let mut steps = Vec::new();
    if !matches!(receipt["state"].as_str(), Some("pending" | "effective")) {
        // Not ready yet, or reported as an error.
        return steps;
    }
    let reused = if receipt["reused"] == true { ", loaded earlier" } else { "" };
    steps.push(format!(
        "{swap}: the new source is ready after {:.1} ms{reused}; it takes over when the next scan starts\n  \
         from  {}\n  to    {}",
        receipt["ready_ms"].as_f64().unwrap_or_default(),
        source(&receipt["from"]),
        source(&receipt["to"])
    ));
    if let Some(at) = receipt["effective_at"].as_str() {
        steps.push(format!("{swap}: took over at {at} with scan {}", text(&receipt["effective_scan"])));
    }
    let old = &receipt["old"];
    if let Some(why) = old["left_behind"].as_str().map(plain) {
        steps.push(format!("{swap}: the thread of the old source is left behind: {why}"));
    }
    if old["settled_at"].is_string() {
        let (events, frames) = (&old["events"], &old["frames"]);
        steps.push(format!("{swap}: the old source gave {events} events; all its {frames} frames are released"));
    }
    steps
}

/// All that is known about a source, in a line.
pub(super) fn source(identity: &Value) -> String {
    let part = |key: &str| identity[key].as_str();
    let mut line = part("name").unwrap_or("-").to_owned();
    line.extend(part("version").map(|version| format!(" {version}")));
    match part("file") {
        None => line += " (linked)",
        Some(file) => line += &format!(" ({file})"),
    }
    line.extend(part("sha256").map(|hash| format!(", sha256 {:.12}", hash)));
    line.extend(part("abi").map(|abi| format!(", ABI {abi}")));
    line.extend(part("compiler").map(|compiler| format!(", {}", compiler.split(" (").next().unwrap_or_default())));
    plain(&line)
}

const EVERY: Duration = Duration::from_millis(50);

/// How long framegate may not answer before it counts as gone.
const GONE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_says_for_which_sources_it_waits_if_no_controller_ends_the_scan() {
        let receipt = json!({ "number": 3, "stream": "camera", "state": "pending" });
        let stream = |active: bool, source: &str| json!({ "active": active, "source": source });
        let status = |driver: &str, pending: Value, camera: &str| {
            json!({
                "control": { "driver": driver },
                "sources": [{ "stream": "camera", "pending": pending }, { "stream": "motors", "pending": null }],
                "ingesters": [
                    { "streams": { "camera": stream(true, camera), "motors": stream(true, "ended") } },
                    { "streams": { "idle": stream(false, "closed") } },
                ],
            })
        };
        let note = no_end(&status("standalone", json!(3), "open"), &receipt).unwrap();
        assert!(note.starts_with("swap 3 of stream camera: this scan has no end in sight"), "{note}");
        assert!(note.contains("not ended yet: camera\n") && note.contains("restart framegate"), "{note}");
        for (driver, pending, camera) in [
            // A controller ends the scan.
            ("redis", json!(3), "open"),
            // The swap has taken over meanwhile.
            ("standalone", Value::Null, "open"),
            // The scan is about to end.
            ("standalone", json!(3), "ended"),
            ("standalone", json!(3), "failed"),
        ] {
            assert_eq!(no_end(&status(driver, pending, camera), &receipt), None);
        }
        assert_eq!(no_end(&Value::Null, &receipt), None);
    }
}
