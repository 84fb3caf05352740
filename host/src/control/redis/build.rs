//! BUILD_META_FILE: the deployment's description of its build, shown to people (`BuildGitMeta` of dranspose 0.2.0).
//!
//! Serialized again from checked types: a value that the peer's model refuses would hide this ingester from all peers.

use std::{io, path::Path, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use url::Url;

/// The file's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BuildMeta {
    commit_hash: String,
    branch_name: String,
    #[serde(deserialize_with = "timestamp")]
    timestamp: jiff::Timestamp,
    repository_url: Url,
}

impl BuildMeta {
    /// The file's content; `None`, with a log line, if the file is missing or invalid.
    pub(super) async fn read(path: &Path) -> Option<Self> {
        let shown = path.display();
        let content = match tokio::time::timeout(LIMIT, tokio::fs::read(path)).await {
            Ok(Err(problem)) if problem.kind() == io::ErrorKind::NotFound => {
                tracing::debug!("build information is not published: {shown} does not exist (BUILD_META_FILE)");
                return None;
            }
            Ok(content) => content.map_err(|problem| problem.to_string()),
            Err(_) => Err(format!("reading it does not return within {LIMIT:?}")),
        };
        match content.and_then(|text| serde_json::from_slice(&text).map_err(|problem| problem.to_string())) {
            Ok(meta) => Some(meta),
            Err(problem) => {
                tracing::warn!("build information is not published: {shown}: {problem} (BUILD_META_FILE)");
                None
            }
        }
    }
}

/// Time limit for reading: a file system may hang.
const LIMIT: Duration = Duration::from_secs(2);

/// Accepts what build systems write: RFC 3339, the same without an offset (taken as UTC), a date, or seconds since the epoch.
fn timestamp<'de, D: Deserializer<'de>>(from: D) -> Result<jiff::Timestamp, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Seconds(f64),
        Text(String),
    }
    match Written::deserialize(from)? {
        Written::Seconds(seconds) => {
            let since = jiff::SignedDuration::try_from_secs_f64(seconds).map_err(D::Error::custom)?;
            jiff::Timestamp::UNIX_EPOCH.checked_add(since).map_err(D::Error::custom)
        }
        Written::Text(text) => text.parse().or_else(|_| {
            let civil: jiff::civil::DateTime = text.parse().map_err(D::Error::custom)?;
            civil.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(D::Error::custom)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(timestamp: &str, url: &str) -> Result<String, serde_json::Error> {
        let text = format!(
            r#"{{"commit_hash":"a","branch_name":"b","timestamp":{timestamp},"repository_url":"{url}","more":1}}"#
        );
        serde_json::to_string(&serde_json::from_str::<BuildMeta>(&text)?)
    }

    #[test]
    fn times_are_read_in_the_forms_that_build_systems_write() {
        for form in [
            r#""2024-05-02T14:22:45+02:00""#,
            r#""2024-05-02T12:22:45Z""#,
            r#""2024-05-02 14:22:45+0200""#,
            r#""2024-05-02T12:22:45""#,
            "1714652565",
        ] {
            let expected = concat!(
                r#"{"commit_hash":"a","branch_name":"b","timestamp":"2024-05-02T12:22:45Z","#,
                r#""repository_url":"https://example.org/x"}"#
            );
            assert_eq!(written(form, "https://example.org/x").unwrap(), expected, "{form}");
        }
        assert!(written(r#""2024-05-02""#, "https://example.org/x").unwrap().contains("2024-05-02T00:00:00Z"));
        assert!(written(r#""yesterday""#, "https://example.org/x").is_err());
    }

    #[test]
    fn what_the_peer_would_refuse_as_url_is_no_url() {
        for wrong in ["git@example.org:a/b.git", "", "://x", "http://"] {
            assert!(written("0", wrong).is_err(), "{wrong}");
        }
    }
}
