//! One problem that keeps a host from starting, or a stream from getting another source.

use std::fmt;

use framegate_plugin_api::ErrorKind;

use crate::{
    names::{IngesterName, StreamName},
    plugin::refusal::{self, Code, Refusal},
    settings::problem::{SettingProblem, finding_and_remedy},
    source::{Fault, NotCreated},
};

/// A problem that keeps a host from starting, or a stream from getting another source: where it is, what was found, and
/// what to do. Its text, with [`Display`](fmt::Display), has all of that for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A setting is missing or wrong.
    Setting(SettingProblem),
    /// A source refuses its settings, or a configured parameter.
    #[non_exhaustive]
    SourceSettings {
        /// The stream.
        stream: StreamName,
        /// What the source says, beginning with its name.
        finding: String,
        /// What to do, if the source says it.
        remedy: Option<String>,
    },
    /// A plugin is refused, or its source cannot be created.
    #[non_exhaustive]
    Plugin {
        /// The stream.
        stream: StreamName,
        /// Why, for programs; [`Code::as_str`] is `FG-ABI-…`.
        code: Code,
        /// What was found.
        finding: String,
        /// What to do.
        remedy: String,
    },
    /// An ingester cannot have its port, or something else that it needs of the system.
    #[non_exhaustive]
    Ingester {
        /// The ingester.
        ingester: IngesterName,
        /// What was found.
        finding: String,
        /// What to do.
        remedy: Option<String>,
    },
    /// The address, password or certificates of Redis cannot be used.
    #[non_exhaustive]
    Redis {
        /// What was found.
        finding: String,
        /// What to do.
        remedy: Option<String>,
    },
    /// The admin endpoint cannot have its port.
    #[non_exhaustive]
    Admin {
        /// What was found.
        finding: String,
        /// What to do.
        remedy: Option<String>,
    },
    /// The system has no thread for it.
    #[non_exhaustive]
    NoThread {
        /// The stream whose source needs it; `None`: the host does.
        stream: Option<StreamName>,
        /// What was found.
        finding: String,
        /// What to do.
        remedy: Option<String>,
    },
}

impl Problem {
    /// A source cannot be created. `source`: its name, version and file.
    pub(super) fn not_created(stream: &StreamName, source: &str, problem: NotCreated) -> Self {
        match problem {
            NotCreated::Refused(refusal) => Self::refused(stream, refusal),
            NotCreated::Fault(Fault::Source(problem)) if problem.kind() == ErrorKind::Settings => {
                Self::source_settings(stream, source, &problem.to_string())
            }
            NotCreated::Fault(fault) => Self::refused(stream, refusal::not_created(source, &fault)),
        }
    }

    pub(super) fn source_settings(stream: &StreamName, source: &str, text: &str) -> Self {
        let (finding, remedy) = finding_and_remedy(&format!("{source}: {text}"));
        Self::SourceSettings { stream: stream.clone(), finding, remedy }
    }

    pub(super) fn refused(stream: &StreamName, Refusal { code, found, remedy }: Refusal) -> Self {
        Self::Plugin { stream: stream.clone(), code, finding: found, remedy }
    }

    pub(super) fn ingester(ingester: &IngesterName, text: &str) -> Self {
        let (finding, remedy) = finding_and_remedy(text);
        Self::Ingester { ingester: ingester.clone(), finding, remedy }
    }

    pub(super) fn redis(text: &str) -> Self {
        let (finding, remedy) = finding_and_remedy(text);
        Self::Redis { finding, remedy }
    }

    pub(super) fn admin(text: &str) -> Self {
        let (finding, remedy) = finding_and_remedy(text);
        Self::Admin { finding, remedy }
    }

    pub(super) fn no_thread(stream: Option<&StreamName>, text: &str) -> Self {
        let (finding, remedy) = finding_and_remedy(text);
        Self::NoThread { stream: stream.cloned(), finding, remedy }
    }

    /// The stream, if it is a problem of one.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::SourceSettings { stream, .. } | Self::Plugin { stream, .. } => Some(stream),
            Self::NoThread { stream, .. } => stream.as_ref(),
            Self::Setting(_) | Self::Ingester { .. } | Self::Redis { .. } | Self::Admin { .. } => None,
        }
    }

    /// Why a plugin is refused.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        if let Self::Plugin { code, .. } = self { Some(*code) } else { None }
    }

    /// What was found, without the place.
    #[must_use]
    pub fn finding(&self) -> &str {
        match self {
            Self::Setting(problem) => &problem.finding,
            Self::SourceSettings { finding, .. }
            | Self::Plugin { finding, .. }
            | Self::Ingester { finding, .. }
            | Self::Redis { finding, .. }
            | Self::Admin { finding, .. }
            | Self::NoThread { finding, .. } => finding,
        }
    }

    /// What to do, if the finding does not say it.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::Plugin { remedy, .. } => Some(remedy),
            Self::Setting(problem) => problem.remedy.as_deref(),
            Self::SourceSettings { remedy, .. }
            | Self::Ingester { remedy, .. }
            | Self::Redis { remedy, .. }
            | Self::Admin { remedy, .. }
            | Self::NoThread { remedy, .. } => remedy.as_deref(),
        }
    }

    /// The text without the stream, for messages that name it otherwise.
    pub(super) fn text(&self) -> String {
        let code = self.code().map_or(String::new(), |code| format!(" [{}]", code.as_str()));
        let remedy = self.remedy().map_or(String::new(), |remedy| format!("\n  {remedy}"));
        format!("{}{code}{remedy}", self.finding())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(problem) => return problem.fmt(f),
            Self::Ingester { ingester, .. } => write!(f, "ingester {ingester}: ")?,
            _ => self.stream().iter().try_for_each(|stream| write!(f, "stream {stream}: "))?,
        }
        f.write_str(&self.text())
    }
}
