//! The result of a check.

use framegate::plugin::{Refusal, child::NoAnswer};
use framegate_plugin_abi::caller::Fault;
use serde::{Deserialize, Serialize};

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// It holds; with the observation.
    Passed {
        /// A short text, may be empty.
        seen: String,
    },
    /// It does not hold.
    Failed {
        /// What was observed instead.
        why: String,
        /// What the author should do.
        hint: String,
    },
    /// The check could not be run.
    NotChecked {
        /// What is missing for the check.
        why: String,
        /// False: the check is for other sources.
        applies: bool,
    },
}

/// Why a check ends early.
#[derive(Debug)]
pub(super) enum Wrong {
    /// A fault of the plugin.
    Failed { why: String, hint: String },
    /// Not a fault of anybody.
    NotChecked(String),
    /// The check is for other sources.
    DoesNotApply(String),
}

impl Wrong {
    pub(super) fn failed(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), hint: hint.into() }
    }
}

/// The usual result type of a check.
pub(super) type Checked = Result<String, Wrong>;

impl From<Checked> for Verdict {
    fn from(checked: Checked) -> Self {
        match checked {
            Ok(seen) => Self::Passed { seen },
            Err(Wrong::Failed { why, hint }) => Self::Failed { why, hint },
            Err(Wrong::NotChecked(why)) => Self::NotChecked { why, applies: true },
            Err(Wrong::DoesNotApply(why)) => Self::NotChecked { why, applies: false },
        }
    }
}

impl From<&Refusal> for Verdict {
    fn from(refusal: &Refusal) -> Self {
        let why = format!("{} [{}]", refusal.found, refusal.code.as_str());
        Self::Failed { why, hint: refusal.remedy.clone() }
    }
}

impl From<NoAnswer> for Verdict {
    fn from(problem: NoAnswer) -> Self {
        let hint = match &problem {
            NoAnswer::NoChild(_) => "framegate could not start itself again; is its file still there?",
            NoAnswer::Died { .. } => "run this check under a debugger, valgrind or an address sanitizer",
            NoAnswer::TimedOut { at, .. } if at == "create" => "create must not wait for the detector: connect in open",
            NoAnswer::TimedOut { .. } => {
                "a call must return in time: wait for the stop descriptor and your own until the deadline, no longer"
            }
        };
        Self::Failed { why: problem.to_string(), hint: hint.to_owned() }
    }
}

/// Reports a call that failed although it should not.
pub(super) fn fault(call: &str, fault: &Fault) -> Wrong {
    let hint = match fault {
        Fault::Source(_) => {
            "this is the plugin's own message; are the settings those of a working configuration (--settings)?"
        }
        Fault::Panicked { .. } => "return an error instead: after a panic the source is not called any more",
        Fault::Garbage { .. } => "return only codes of the interface, and fill in everything that they require",
        Fault::Lost(_) => "see what it printed, and keep to the protocol",
        Fault::Poisoned(_) => "see the call before it",
    };
    let why = match fault {
        // These name the call themselves.
        Fault::Panicked { .. } | Fault::Garbage { .. } | Fault::Lost(_) => fault.to_string(),
        Fault::Source(_) | Fault::Poisoned(_) => format!("{call}: {fault}"),
    };
    Wrong::failed(why, hint)
}
