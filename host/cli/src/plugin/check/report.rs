//! The output after all checks: a table for people, or JSON for programs.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use framegate::plugin::{Inspected, Note};
use serde_json::{Value, json};

use super::{
    Task,
    catalog::{CHECKS, Check},
    verdict::Verdict,
};

/// All results.
pub(super) struct CheckReport {
    file: String,
    note: Option<Note>,
    /// Of the checks so far, in the order of [`CHECKS`], with their durations.
    pub(super) results: Vec<(Verdict, Duration)>,
    /// Checks that could not be run count as failed.
    pub(super) strict: bool,
    /// The table has a whole sentence for each check that has passed, with what was seen.
    pub(super) verbose: bool,
}

impl CheckReport {
    pub(super) fn new(file: &str, inspected: Option<&Inspected>) -> Self {
        let note = inspected.map(|inspected| inspected.note.clone());
        Self { file: file.to_owned(), note, results: Vec::new(), strict: false, verbose: false }
    }

    fn all(&self) -> impl Iterator<Item = (&'static Check, &Verdict, Duration)> {
        CHECKS.iter().zip(&self.results).map(|(check, (verdict, took))| (check, verdict, *took))
    }

    fn names(&self, which: impl Fn(&Verdict) -> bool) -> Vec<&'static str> {
        self.all().filter(|(_, verdict, _)| which(verdict)).map(|(check, ..)| check.name).collect()
    }

    pub(super) fn has_passed(&self, check: &str) -> bool {
        self.names(|verdict| matches!(verdict, Verdict::Passed { .. })).contains(&check)
    }

    pub(super) fn first_failed(&self) -> Option<&'static str> {
        self.names(|verdict| matches!(verdict, Verdict::Failed { .. })).first().copied()
    }

    /// Checks that apply to this source, could not be run, and count as failed.
    pub(super) fn missed(&self) -> Vec<&'static str> {
        self.names(|verdict| self.strict && matches!(verdict, Verdict::NotChecked { applies: true, .. }))
    }

    pub(super) fn json(&self, task: &Task) -> Value {
        let checks = self.all().map(|(check, verdict, took)| {
            let mut json = json!(verdict);
            json["check"] = json!(check.name);
            json["proves"] = json!(check.proves);
            json["seconds"] = json!(took.as_secs_f64());
            json
        });
        let known = Some(task).filter(|task| task.on_demand.is_some());
        json!({
            "file": self.file,
            "name": self.note.as_ref().map(|note| &note.name),
            "version": self.note.as_ref().map(|note| &note.version),
            "protocol": self.note.as_ref().map(|note| &note.protocol),
            "settings": known.map(|task| &task.settings),
            "upstream": known.map(|task| task.upstream),
            "passed": self.first_failed().is_none() && self.missed().is_empty(),
            "checks": checks.collect::<Vec<_>>(),
        })
    }

    pub(super) fn text(&self, task: &Task) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["CHECK", "RESULT", "WHAT"]);
        let (mut counts, mut hints) = ([0; 3], String::new());
        for (Check { name, short, proves, .. }, verdict, _) in self.all() {
            let (which, result, what) = match verdict {
                Verdict::Passed { .. } if !self.verbose => (0, "passed", (*short).to_owned()),
                Verdict::Passed { seen } if seen.is_empty() => (0, "passed", (*proves).to_owned()),
                Verdict::Passed { seen } => (0, "passed", format!("{proves} ({seen})")),
                Verdict::Failed { why, hint } => {
                    hints += &format!("\n\n{name}: {why}\n  {hint}");
                    (1, "FAILED", format!("expected: {proves}"))
                }
                Verdict::NotChecked { why, .. } => (2, "not checked", why.clone()),
            };
            counts[which] += 1;
            table.add_row([*name, result, &what]);
        }
        let about = match &self.note {
            Some(note) => format!("{} {} ({})", note.name, note.version, self.file),
            None => self.file.clone(),
        };
        let [passed, failed, not] = counts;
        let with = match task.on_demand {
            Some(_) => format!("\nsettings {}; {}", task.settings, task.upstream.about()),
            None => String::new(),
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
