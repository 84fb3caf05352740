//! Reads a source's settings: from JSON into the source's own type. An error names the field.

use serde::de::DeserializeOwned;

use crate::SourceError;

/// Reads settings from JSON.
///
/// # Errors
/// `settings.FIELD: what is wrong`, of kind [`ErrorKind::Settings`](crate::ErrorKind::Settings).
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Settings { period_ms: u64 }
///
/// let error = framegate_plugin_api::settings::from_json::<Settings>(r#"{ "period_ms": "1" }"#).unwrap_err();
/// assert_eq!(error.message(), r#"settings.period_ms: invalid type: string "1", expected u64"#);
/// ```
pub fn from_json<T: DeserializeOwned>(json: &str) -> Result<T, SourceError> {
    let json: serde_json::Value = serde_json::from_str(json)
        .map_err(|problem| SourceError::internal(format!("the host gave settings that are not JSON: {problem}")))?;
    serde_path_to_error::deserialize(&json).map_err(|problem| {
        let what = problem.inner();
        SourceError::settings(match problem.path().to_string().as_str() {
            "." => format!("settings: {what}"),
            path => format!("settings.{path}: {what}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        url: String,
        #[serde(default)]
        inner: Inner,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Inner {
        size: u8,
    }

    fn problem(json: &str) -> String {
        from_json::<Settings>(json).unwrap_err().to_string()
    }

    #[test]
    fn what_fits_is_read() {
        let expected = Settings { url: "u".to_owned(), inner: Inner { size: 7 } };
        assert_eq!(from_json::<Settings>(r#"{"url": "u", "inner": {"size": 7}}"#).unwrap(), expected);
    }

    #[test]
    fn an_error_names_the_field() {
        assert_eq!(problem(r#"{"url": 5}"#), "settings.url: invalid type: integer `5`, expected a string");
        assert_eq!(
            problem(r#"{"url": "u", "inner": {"size": 300}}"#),
            "settings.inner.size: invalid value: integer `300`, expected u8"
        );
        assert_eq!(problem("{}"), "settings: missing field `url`");
        assert!(problem(r#"{"url": "u", "ulr": 1}"#).starts_with("settings.ulr: unknown field `ulr`"));
        assert_eq!(problem("[]"), "settings: invalid length 0, expected struct Settings with 2 elements");
    }
}
