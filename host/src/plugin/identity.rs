//! The identity of a source: its code, and where it comes from. Known before any of the code runs.

use std::{fmt, path::PathBuf};

use serde::Serialize;

/// The identity of a source: its code, and where it comes from. A linked source has no file, and no values from a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SourceIdentity {
    /// The name of its protocol.
    pub protocol: String,
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: Option<String>,
    /// The plugin's file.
    pub file: Option<PathBuf>,
    /// SHA-256 of the file's content, in hexadecimal.
    pub sha256: Option<String>,
    /// The version of the plugin interface that it was built for.
    pub abi: Option<String>,
    /// The compiler that built it.
    pub compiler: Option<String>,
}

impl SourceIdentity {
    /// The identity of a linked source.
    pub(crate) fn linked(protocol: &str) -> Self {
        Self {
            protocol: protocol.to_owned(),
            name: protocol.to_owned(),
            version: None,
            file: None,
            sha256: None,
            abi: None,
            compiler: None,
        }
    }
}

/// Shows protocol, version and file, or that it is linked.
impl fmt::Display for SourceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.protocol)?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        match &self.file {
            Some(file) => write!(f, " ({})", file.display()),
            None => f.write_str(" (linked)"),
        }
    }
}
