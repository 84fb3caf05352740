//! Context for errors, so that `?` gives a message that says what was attempted.

use std::fmt;

use crate::SourceError;

/// Adds what was attempted to an error.
///
/// ```
/// use framegate_plugin_api::{Context as _, SourceError};
///
/// fn calibration(path: &str) -> Result<String, SourceError> {
///     Ok(std::fs::read_to_string(path).context(format_args!("settings.calibration: {path}"))?)
/// }
///
/// let error = calibration("/no/such/file").unwrap_err();
/// assert_eq!(error.message(), "settings.calibration: /no/such/file: No such file or directory (os error 2)");
/// ```
pub trait Context<T> {
    /// Puts `context` before the error's message.
    ///
    /// # Errors
    /// The same error, with context.
    fn context(self, context: impl fmt::Display) -> Result<T, SourceError>;
}

impl<T, E: Into<SourceError>> Context<T> for Result<T, E> {
    fn context(self, context: impl fmt::Display) -> Result<T, SourceError> {
        self.map_err(|error| error.into().context(context))
    }
}
