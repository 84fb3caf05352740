//! All checks, in their order; docs/write-a-source/plugin-check.md explains each of them.

use std::time::Duration;

use super::{bench::Bench, calls, data, life, verdict::Checked};

/// One check.
pub(super) struct Check {
    /// Its name, for people and for programs.
    pub(super) name: &'static str,
    /// What a pass proves, in the words of the table.
    pub(super) short: &'static str,
    /// The same as a whole sentence.
    pub(super) proves: &'static str,
    /// It runs only if this check has passed.
    pub(super) needs: Option<&'static str>,
    /// The sources that it applies to.
    pub(super) of: Of,
    /// Time limit: after that the check hangs.
    pub(super) limit: Duration,
    /// The function that the child runs after it has loaded the plugin.
    pub(super) run: fn(&Bench) -> Checked,
}

/// The sources that a check applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    All,
    /// Sources that give events by themselves.
    Giving,
    /// Sources that are triggered for each event.
    OnDemand,
}

/// Gates 1 and 2, which need no child.
pub(super) const FILE: &str = "file";
pub(super) const VERSION: &str = "version";
/// Gate 3.
pub(super) const LAYOUT: &str = "layout";
/// Gate 4.
pub(super) const CREATE: &str = "create";
const RUN: &str = "run";

/// All checks.
pub(super) const CHECKS: &[Check] = &[
    check(
        FILE,
        "the file is a valid plugin",
        "the file is a valid plugin for this machine, and no other user may write to it",
        None,
        0,
        nothing,
    ),
    check(
        VERSION,
        "the interface version fits",
        "it was built for this host's version of the plugin interface",
        Some(FILE),
        0,
        nothing,
    ),
    check(
        LAYOUT,
        "it loads, and its layout fits",
        "it loads, and everything that crosses the interface has the layout that the host expects",
        Some(VERSION),
        10,
        nothing,
    ),
    check(
        CREATE,
        "a source is created and dropped",
        "a source can be created from its settings, and dropped",
        Some(LAYOUT),
        10,
        life::create,
    ),
    check(
        RUN,
        "a run is opened, used and closed",
        "a run can be opened, pulled from and closed, and no thread of it panics",
        Some(CREATE),
        10,
        life::run,
    ),
    check(
        "settings",
        "wrong settings are refused",
        "wrong settings are refused with an error that says so",
        Some(CREATE),
        20,
        calls::settings,
    ),
    check(
        "parameters",
        "wrong parameters do no harm",
        "its parameters are described, and unknown names and invalid values do no harm",
        Some(CREATE),
        10,
        life::parameters,
    ),
    check(
        "reopen",
        "runs leave nothing behind",
        "repeated runs leave no thread or descriptor behind",
        Some(RUN),
        120,
        life::reopen,
    ),
    check(
        "drop",
        "a dropped source leaves nothing",
        "a dropped source leaves nothing behind and no longer calls the host",
        Some(RUN),
        60,
        life::drop,
    ),
    check("memory", "memory does not grow", "repeated runs use no more memory", Some(RUN), 120, life::memory),
    check("deadline", "next returns in time", "next returns at its deadline", Some(RUN), 30, calls::deadline)
        .of(Of::Giving),
    check("idle", "next waits for events", "next waits while there is no event", Some(RUN), 20, calls::idle)
        .of(Of::Giving),
    check("stop", "it stops within a second", "it stops within a second at any moment", Some(RUN), 60, calls::stop)
        .of(Of::Giving),
    check(
        "events",
        "messages give the right events",
        "a detector's messages give the right events, the same ones in each run",
        Some(RUN),
        120,
        data::events,
    )
    .of(Of::Giving),
    check(
        "frames",
        "frames keep their bytes",
        "a frame's bytes stay until its release, which may come on any thread and after the end",
        Some(RUN),
        30,
        data::frames,
    ),
    check(
        "input",
        "bad messages do no harm",
        "empty, huge, truncated and random messages harm no other message",
        Some(RUN),
        120,
        data::input,
    )
    .of(Of::Giving),
    check("trigger", "each trigger gives one event", "each trigger gives one event", Some(RUN), 30, calls::trigger)
        .of(Of::OnDemand),
];

const fn check(
    name: &'static str,
    short: &'static str,
    proves: &'static str,
    needs: Option<&'static str>,
    seconds: u64,
    run: fn(&Bench) -> Checked,
) -> Check {
    Check { name, short, proves, needs, of: Of::All, limit: Duration::from_secs(seconds), run }
}

impl Check {
    const fn of(mut self, of: Of) -> Self {
        self.of = of;
        self
    }
}

/// For checks that only need the plugin to be loaded.
fn nothing(_: &Bench) -> Checked {
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_needs_only_what_comes_before_it_and_no_name_is_given_twice() {
        for (at, check) in CHECKS.iter().enumerate() {
            let before = &CHECKS[..at];
            assert!(check.needs.is_none_or(|needed| before.iter().any(|one| one.name == needed)), "{}", check.name);
            assert!(before.iter().all(|one| one.name != check.name), "{}", check.name);
        }
    }

    /// The table fits in a terminal of 80 columns.
    #[test]
    fn a_passed_check_has_a_short_text() {
        for check in CHECKS {
            assert!(!check.short.is_empty() && check.short.len() <= 32, "{}: {}", check.name, check.short);
            assert!(check.short.len() <= check.proves.len(), "{}: {}", check.name, check.short);
        }
    }

    #[test]
    fn the_page_explains_every_check_and_every_code() {
        let page = include_str!("../../../../../docs/write-a-source/plugin-check.md");
        for Check { name, proves, .. } in CHECKS {
            assert!(
                page.contains(&format!("### `{name}`\n\nProves: {proves}.\n")),
                "{name} is not explained, or otherwise"
            );
        }
        let headings = page.lines().filter(|line| line.starts_with("### `")).count();
        assert_eq!(headings, CHECKS.len(), "the page explains checks that are not there");
        for code in framegate::plugin::Code::ALL {
            assert!(page.contains(&format!("\n| `{}` |", code.as_str())), "{} is not explained", code.as_str());
        }
    }
}
