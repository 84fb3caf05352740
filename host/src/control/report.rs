//! The state of control, for status: one value, always the latest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Serialize, Serializer};

use crate::{counter::Counter, names::IngesterName, observe::plain::Plain};

/// The controller of the host, whether it is reachable, and which of its messages could not be understood.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ControlReport {
    /// Who controls the host.
    pub driver: ControlDriver,
    /// The address of Redis: `host:port/database`, never with a password. `None` in standalone.
    pub address: Option<String>,
    /// Whether Redis answers.
    pub state: ControlState,
    /// Since when `state` holds; RFC 3339.
    pub since: String,
    /// The last problem, whether or not it persists.
    pub last_problem: Option<ControlProblem>,
    /// All input that could not be used, by reason, since the start of the process.
    pub counters: BTreeMap<Counter, u64>,
    /// Current faults, in words, by subject.
    pub faults: BTreeMap<FaultSubject, String>,
    /// Ingesters that are idle now, because a younger instance with their name serves.
    pub stepped_back: BTreeSet<IngesterName>,
}

/// Who controls a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ControlDriver {
    /// A dranspose controller, through Redis.
    Redis,
    /// Nobody: scans follow each other.
    Standalone,
    /// The program that embeds the host.
    Program,
}

impl fmt::Display for ControlDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Whether Redis answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ControlState {
    /// Redis has not answered yet since the start.
    Connecting,
    /// Redis answers.
    Up,
    /// Redis has answered before, or was refused, and cannot be used now.
    Down,
    /// There is no Redis: scans follow each other.
    Standalone,
    /// There is no Redis: the program that embeds the host begins the scans.
    Program,
}

impl fmt::Display for ControlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The subject of a fault in control.
///
/// In the order of the texts, so that status lists faults alphabetically.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FaultSubject {
    /// The parameters' descriptions that this ingester publishes.
    Descriptions(IngesterName),
    /// This ingester's part in the current scan.
    Ingester(IngesterName),
    /// Several instances with this ingester's name.
    Instances(IngesterName),
    /// The value of this parameter.
    Parameter(String),
    /// A command and a key that Redis denies.
    Right(String),
    /// The last scan without a controller.
    Scans,
}

impl fmt::Display for FaultSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names come from outside.
        match self {
            Self::Descriptions(name) => Plain::write(f, format_args!("descriptions of ingester {name}")),
            Self::Ingester(name) => Plain::write(f, format_args!("ingester {name}")),
            Self::Instances(name) => Plain::write(f, format_args!("instances of ingester {name}")),
            Self::Parameter(name) => Plain::write(f, format_args!("parameter {name}")),
            Self::Right(right) => Plain::write(f, format_args!("right to {right}")),
            Self::Scans => f.write_str("scans"),
        }
    }
}

impl Serialize for FaultSubject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Something that went wrong in control.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ControlProblem {
    /// Time; RFC 3339.
    pub at: String,
    /// Description.
    pub what: String,
}

impl ControlReport {
    pub(crate) fn standalone() -> Self {
        Self {
            driver: ControlDriver::Standalone,
            address: None,
            state: ControlState::Standalone,
            since: now(),
            last_problem: None,
            counters: BTreeMap::new(),
            faults: BTreeMap::new(),
            stepped_back: BTreeSet::new(),
        }
    }

    pub(crate) fn program() -> Self {
        Self { driver: ControlDriver::Program, state: ControlState::Program, ..Self::standalone() }
    }

    pub(crate) fn redis(address: String) -> Self {
        Self {
            driver: ControlDriver::Redis,
            address: Some(address),
            state: ControlState::Connecting,
            ..Self::standalone()
        }
    }
}

/// The current time in RFC 3339, to the millisecond.
pub(crate) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lists_faults_by_the_text_of_their_subject() {
        let name = || IngesterName::new("e").unwrap();
        let subjects = [
            FaultSubject::Scans,
            FaultSubject::Right("GET x".to_owned()),
            FaultSubject::Parameter("a\nb".to_owned()),
            FaultSubject::Instances(name()),
            FaultSubject::Ingester(name()),
            FaultSubject::Descriptions(name()),
        ];
        let faults: BTreeMap<_, _> = subjects.into_iter().map(|subject| (subject, String::new())).collect();
        let report = ControlReport { faults, ..ControlReport::redis("r:6379/0".to_owned()) };
        let written = serde_json::to_string(&report.faults).unwrap();
        let expected = r#"{"descriptions of ingester e":"","ingester e":"","instances of ingester e":"","#.to_owned()
            + r#""parameter a\\nb":"","right to GET x":"","scans":""}"#;
        assert_eq!(written, expected);
        assert_eq!(serde_json::to_string(&(report.driver, report.state)).unwrap(), r#"["redis","connecting"]"#);
    }
}
