//! The form of the address of Redis. No message repeats it: it may contain a password.

use url::Url;

/// Whether connections to it are encrypted.
pub(super) fn is_tls(address: &str) -> bool {
    Url::parse(address).is_ok_and(|url| url.scheme() == "rediss")
}

pub(super) fn has_password(address: &str) -> bool {
    Url::parse(address).is_ok_and(|url| url.password().is_some())
}

/// Checks the form.
pub(super) fn check(address: &str) -> Result<(), String> {
    let url = Url::parse(address).map_err(|problem| match problem {
        url::ParseError::RelativeUrlWithoutBase => "it has no scheme; write redis:// before it".to_owned(),
        url::ParseError::InvalidPort => "the port must be 1 to 65535".to_owned(),
        url::ParseError::EmptyHost => "the host is missing".to_owned(),
        url::ParseError::InvalidIpv6Address => "the brackets hold no IPv6 address".to_owned(),
        problem => problem.to_string(),
    })?;
    let database = url.path().trim_start_matches('/');
    let wrong = if !["redis", "rediss"].contains(&url.scheme()) {
        "it does not begin with redis:// or rediss://"
    } else if url.host_str().is_none_or(str::is_empty) {
        "the host is missing"
    } else if !database.is_empty() && database.parse::<u16>().is_err() {
        "the database is not a number"
    } else if url.fragment().is_some() {
        "nothing may follow a #; certificates are always checked, and redis_ca names a file with the trusted authorities"
    } else {
        return Ok(());
    };
    Err(wrong.to_owned())
}
