//! All measurements, for programs: each round of each side, and the results of the goals.

use std::{fs, path::Path, thread};

use serde_json::{Value, json};

use crate::compare::Rounds;

/// Writes the report to a file.
pub(crate) fn write(path: &Path, groups: &[(&str, Vec<Rounds>)]) -> anyhow::Result<()> {
    let row = |rounds: &Rounds, all: &[Rounds]| {
        let goals = rounds.verdicts(all);
        json!({"row": rounds.row, "ends": rounds.ends, "rounds": rounds.sides, "goals": goals})
    };
    let group = |all: &[Rounds]| all.iter().map(|rounds| row(rounds, all)).collect::<Vec<Value>>();
    let groups: serde_json::Map<_, _> =
        groups.iter().map(|(name, all)| ((*name).to_owned(), json!(group(all)))).collect();
    let all = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cores": thread::available_parallelism()?,
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        "processor": processor(),
        "groups": groups,
    });
    Ok(fs::write(path, format!("{all:#}\n"))?)
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}
