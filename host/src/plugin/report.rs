//! What status and metrics say about loaded plugin files.

use serde::Serialize;

/// A generation, for status.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct GenerationReport {
    /// The stream that it was loaded for first.
    pub stream: String,
    /// Name, version and file.
    pub source: String,
    /// Hash of the file's content, in hexadecimal.
    pub sha256: String,
    /// What has become of it: `inspected` (none of its code has run), `loading`, `loaded`, `refused`, or `written off` (a
    /// call of it did not return).
    pub state: &'static str,
    /// Time to load it and check its layout, in milliseconds.
    pub load_ms: Option<f64>,
    /// Number of frames that it gave to the host.
    pub frames_given: u64,
    /// Number of these frames that were returned: nobody holds them any more.
    pub frames_returned: u64,
    /// Number of calls to the host after the end of their instance: a fault of the plugin.
    pub stray_calls: u64,
}

/// The process of an isolated source, for status.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ProcessReport {
    /// The id of the last process that was started.
    pub pid: u32,
    /// Number of processes that were started for this source.
    pub started: u64,
    /// Number of frames that they gave to the host.
    pub frames_given: u64,
    /// Number of these frames that were returned: nobody holds them any more.
    pub frames_returned: u64,
}
