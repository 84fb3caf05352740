//! The output after all checks: a table for people, or JSON for programs.

use std::{io::IsTerminal as _, time::Duration};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::{catalog::CHECKS, upstream::Kind, verdict::Verdict};
use crate::plugin::inspect::{Inspected, Note};

/// All results.
pub(super) struct CheckReport {
    file: String,
    note: Option<Note>,
    /// The settings that were used.
    pub(super) settings: Option<Value>,
    pub(super) upstream: Option<Kind>,
    pub(super) results: Vec<CheckResult>,
    /// Checks that could not be run count as failed.
    pub(super) strict: bool,
    /// The table has a whole sentence for each check that has passed, with what was seen.
    pub(super) verbose: bool,
}

/// The result of one check.
pub(super) struct CheckResult {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
}

impl CheckReport {
    pub(super) fn new(file: &str, inspected: Option<&Inspected>) -> Self {
        let note = inspected.map(|inspected| inspected.note.clone());
        let (strict, verbose) = (false, false);
        Self { file: file.to_owned(), note, settings: None, upstream: None, results: Vec::new(), strict, verbose }
    }

    pub(super) fn add(&mut self, check: &'static str, verdict: Verdict) {
        self.results.push(CheckResult { check, verdict, took: Duration::ZERO });
    }

    /// Shows the current check to a waiting person.
    pub(super) fn is_at(&self, check: &str) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K{check} …");
        }
    }

    /// Adds the checks that were not reached.
    pub(super) fn fill_up(&mut self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        for check in CHECKS {
            if !self.has(check.name) {
                let why = format!("it needs `{}`", check.needs.unwrap_or_default());
                self.add(check.name, Verdict::NotChecked { why, applies: true });
            }
        }
    }

    pub(super) fn has(&self, check: &str) -> bool {
        self.results.iter().any(|result| result.check == check)
    }

    pub(super) fn has_passed(&self, check: &str) -> bool {
        self.results.iter().any(|result| result.check == check && matches!(result.verdict, Verdict::Passed { .. }))
    }

    pub(super) fn first_failed(&self) -> Option<&'static str> {
        self.results.iter().find(|result| matches!(result.verdict, Verdict::Failed { .. })).map(|result| result.check)
    }

    /// Checks that apply to this source, could not be run, and count as failed.
    pub(super) fn missed(&self) -> Vec<&'static str> {
        let missed =
            |result: &&CheckResult| self.strict && matches!(result.verdict, Verdict::NotChecked { applies: true, .. });
        self.results.iter().filter(missed).map(|result| result.check).collect()
    }

    pub(super) fn json(&self) -> Value {
        let proves =
            |result: &CheckResult| CHECKS.iter().find(|check| check.name == result.check).map(|check| check.proves);
        let checks = self.results.iter().map(|result| {
            let mut json = json!(result.verdict);
            json["check"] = json!(result.check);
            json["proves"] = json!(proves(result));
            json["seconds"] = json!(result.took.as_secs_f64());
            json
        });
        json!({
            "file": self.file,
            "name": self.note.as_ref().map(|note| &note.name),
            "version": self.note.as_ref().map(|note| &note.version),
            "protocol": self.note.as_ref().map(|note| &note.protocol),
            "settings": self.settings,
            "upstream": self.upstream,
            "passed": self.first_failed().is_none() && self.missed().is_empty(),
            "checks": checks.collect::<Vec<_>>(),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["CHECK", "RESULT", "WHAT"]);
        let (mut counts, mut hints) = ([0; 3], String::new());
        for CheckResult { check, verdict, .. } in &self.results {
            let known = CHECKS.iter().find(|one| one.name == *check);
            let (short, proves) = known.map_or(("", ""), |one| (one.short, one.proves));
            let (which, result, what) = match verdict {
                Verdict::Passed { .. } if !self.verbose => (0, "passed", short.to_owned()),
                Verdict::Passed { seen } if seen.is_empty() => (0, "passed", proves.to_owned()),
                Verdict::Passed { seen } => (0, "passed", format!("{proves} ({seen})")),
                Verdict::Failed { why, hint } => {
                    hints += &format!("\n\n{check}: {why}\n  {hint}");
                    (1, "FAILED", format!("expected: {proves}"))
                }
                Verdict::NotChecked { why, .. } => (2, "not checked", why.clone()),
            };
            counts[which] += 1;
            table.add_row([*check, result, &what]);
        }
        let about = match &self.note {
            Some(note) => format!("{} {} ({})", note.name, note.version, self.file),
            None => self.file.clone(),
        };
        let [passed, failed, not] = counts;
        let with = match (&self.settings, self.upstream) {
            (Some(settings), Some(upstream)) => format!("\nsettings {settings}; {}", upstream.about()),
            _ => String::new(),
        };
        let missed = match &self.missed()[..] {
            [] => String::new(),
            missed => format!("\nnot checked, which --strict does not accept: {}", missed.join(", ")),
        };
        format!(
            "{about}{with}\n\n{}{hints}\n\n{passed} passed, {failed} failed, {not} not checked{missed}",
            table.trim_fmt()
        )
    }
}
