//! `framegate plugin list` and `framegate plugin info PATH`: show what is known about plugin files without running any of them.
//!
//! Runs on the main thread. Reads files, loads none: a file that is listed here without a refusal has passed the first two of
//! four gates; the others are checked when a host starts.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use comfy_table::{ContentArrangement, Table, presets};
use framegate::{
    names::PluginReference,
    plugin::{Description, Note, Refusal, Trust, describe, places, plugins_in},
};
use framegate_plugin_abi::note::Language;
use serde_json::{Value, json};

use crate::{
    REFUSED, fail, out,
    words::{cell, plain, plain_lines},
};

/// List the plugins that are found by name, and where.
///
/// Looks into the directories given by --dir (as plugin_dirs in the configuration), those of the variable FRAMEGATE_PLUGIN_PATH, beside the
/// executable, and ../lib/framegate from there. A name is taken from the first directory that has it. No plugin is loaded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0, also when files were refused.")]
pub(super) struct ListArgs {
    /// A directory to look into first; may be given several times
    #[arg(long, value_name = "DIR")]
    dir: Vec<PathBuf>,
    /// Print for each plugin the `source` of a configuration that accepts only the present content of its file
    #[arg(long)]
    pins: bool,
    /// Print JSON, with the SHA-256 of each file
    #[arg(long, conflicts_with = "pins")]
    json: bool,
}

/// Show what a plugin file says of itself.
///
/// Reads its note; none of its code runs, so the file may also be one for another kind of machine. Says whether a host on this machine would
/// go on to load it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 when it is a plugin; 3 when it is not.")]
pub(super) struct InfoArgs {
    /// The plugin's .so file
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lists the plugins.
pub(super) fn run_list(args: &ListArgs, trust: Trust<'_>) -> anyhow::Result<ExitCode> {
    let found = find(&args.dir, trust);
    if args.json {
        out::line(format_args!("{:#}", Value::Array(found.iter().map(PluginFile::json).collect())))?;
    } else {
        out::line(list(&found, args))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Describes a plugin.
pub(super) fn run_info(args: &InfoArgs, trust: Trust<'_>) -> anyhow::Result<ExitCode> {
    let found = PluginFile::look(None, &args.path, None, trust);
    match &found.about {
        None => {
            let refusal = found.refusal.as_ref().map(ToString::to_string).unwrap_or_default();
            if args.json {
                out::line(format_args!("{:#}", found.json()))?;
            }
            Ok(fail(&[refusal], REFUSED))
        }
        Some(about) => {
            out::line(if args.json { format!("{:#}", found.json()) } else { info(&found, about) })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What is known about one file.
struct PluginFile {
    /// The name under which it is found.
    name: Option<String>,
    path: PathBuf,
    /// The content of its note, if it has one.
    about: Option<About>,
    /// Why a host would not load it.
    refusal: Option<Refusal>,
    /// The earlier file that is found under the same name.
    behind: Option<PathBuf>,
}

struct About {
    note: Note,
    size: usize,
    sha256: String,
}

impl PluginFile {
    fn look(name: Option<String>, path: &Path, behind: Option<PathBuf>, trust: Trust<'_>) -> Self {
        let (about, refusal) = match describe(path, trust) {
            Ok(Description { note, size, sha256, refusal, .. }) => (Some(About { note, size, sha256 }), refusal),
            Err(refusal) => (None, Some(refusal)),
        };
        Self { name, path: path.to_owned(), about, refusal, behind }
    }

    fn json(&self) -> Value {
        let refused = self
            .refusal
            .as_ref()
            .map(|refusal| json!({ "code": refusal.code.as_str(), "found": refusal.found, "remedy": refusal.remedy }));
        let mut json = json!({ "source": self.name, "path": self.path, "refused": refused, "behind": self.behind });
        if let Some(About { note, size, sha256 }) = &self.about {
            json["size"] = json!(size);
            json["sha256"] = json!(sha256);
            json["name"] = json!(note.name);
            json["version"] = json!(note.version);
            json["protocol"] = json!(note.protocol);
            json["abi"] = json!(abi(note));
            json["language"] = json!(language(note));
            json["compiler"] = json!(note.compiler);
            json["debug"] = json!(note.debug);
            json["machine"] = json!(note.machine);
            json["symbol"] = json!(note.table);
        }
        json
    }

    /// `ok`, `refused`, or the file that hides it.
    fn state(&self) -> String {
        match (&self.refusal, &self.behind) {
            (Some(_), _) => "refused".to_owned(),
            (None, Some(first)) => format!("hidden by {}", first.display()),
            (None, None) => "ok".to_owned(),
        }
    }
}

/// All files with the name of a plugin, in lookup order.
fn find(dirs: &[PathBuf], trust: Trust<'_>) -> Vec<PluginFile> {
    let mut all: Vec<PluginFile> = Vec::new();
    for place in places(dirs) {
        for (name, path) in plugins_in(&place) {
            let same = |known: &&PluginFile| known.name.as_ref() == Some(&name);
            let behind = all.iter().find(same).map(|first| first.path.clone());
            all.push(PluginFile::look(Some(name), &path, behind, trust));
        }
    }
    all
}

fn list(found: &[PluginFile], args: &ListArgs) -> String {
    if found.is_empty() {
        let places: Vec<_> = places(&args.dir).iter().map(|place| format!("\n  {}", place.display())).collect();
        return format!("no plugin (libframegate_*.so) in{}", places.concat());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["SOURCE", "STATE", "VERSION", "ABI", "PROTOCOL", "BUILT BY", "FILE"]);
    for one in found {
        let name = one.name.clone().unwrap_or_default();
        let path = one.path.display().to_string();
        let [version, abi, protocol, built] = match &one.about {
            Some(About { note, .. }) => [note.version.clone(), abi(note), note.protocol.clone(), built(note)],
            None => ["-"; 4].map(str::to_owned),
        };
        let cells = [name, one.state(), version, abi, protocol, built].map(|text| cell(&text));
        table.add_row(cells.into_iter().chain([plain(&path)]));
    }
    let mut text = table.trim_fmt();
    for refusal in found.iter().filter_map(|one| one.refusal.as_ref()) {
        text += &format!("\n\n{refusal}");
    }
    let pins = found.iter().filter(|one| one.refusal.is_none() && one.behind.is_none()).filter_map(pin);
    let pins: Vec<_> = pins.map(|pin| format!("\n  source = \"{pin}\"")).collect();
    text += &match (pins.is_empty(), args.pins) {
        (true, _) => String::new(),
        (false, true) => format!("\n\npinned to these files:{}", pins.concat()),
        (false, false) => "\n\nto accept only these files, pin them: `framegate plugin list --pins`".to_owned(),
    };
    text
}

/// The value of `source` that accepts only this content.
fn pin(found: &PluginFile) -> Option<String> {
    let sha256 = &found.about.as_ref()?.sha256;
    let what = found.name.clone().unwrap_or_else(|| found.path.display().to_string());
    Some(PluginReference { what: &what, pin: Some(sha256) }.to_string())
}

fn info(found: &PluginFile, about: &About) -> String {
    let About { note, size, sha256 } = about;
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let here = match &found.refusal {
        None => "accepts the file; loading it makes further checks".to_owned(),
        Some(refusal) => refusal.to_string(),
    };
    let machine = match note.machine == std::env::consts::ARCH {
        true => note.machine.clone(),
        false => format!("{} (this one is {})", note.machine, std::env::consts::ARCH),
    };
    for (what, value) in [
        ("plugin", format!("{} {}", note.name, note.version)),
        ("protocol", note.protocol.clone()),
        ("ABI", abi(note)),
        ("language", language(note).to_owned()),
        ("built by", built(note)),
        ("machine", machine),
        ("symbol", note.table.clone()),
        ("file", format!("{} ({size} bytes)", found.path.display())),
        ("sha256", sha256.clone()),
        ("this host", here),
    ] {
        table.add_row([what.to_owned(), plain_lines(&value)]);
    }
    table.trim_fmt()
}

fn abi(note: &Note) -> String {
    format!("{}.{}", note.abi.0, note.abi.1)
}

fn language(note: &Note) -> &'static str {
    match note.language {
        Some(Language::Rust) => "Rust",
        Some(Language::C) => "C",
        None => "unknown",
    }
}

/// `rustc 1.95.0, debug`
fn built(note: &Note) -> String {
    let compiler = note.compiler.split(" (").next().unwrap_or_default();
    format!("{compiler}{}", if note.debug { ", debug" } else { "" })
}
