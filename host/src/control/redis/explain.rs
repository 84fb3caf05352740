//! Explains errors and missing answers of Redis to people.
//!
//! Pure functions. A message contains of our own command only its name and its key: values may be secret.

use std::{error::Error, io, sync::Arc};

use redis::{Arg, Cmd, RedisError, ServerError};
use rustls::CertificateError;
use uuid::Uuid;

/// What is known about a connection that failed or was refused.
pub(super) struct Circumstances {
    /// We speak TLS.
    pub(super) tls: bool,
    /// This address has worked before: whether it uses TLS is known.
    pub(super) served_before: bool,
    /// The last error of Redis.
    pub(super) last_error: Option<String>,
}

/// Why connecting failed, and what to do if that is known.
pub(super) fn no_connection(problem: &RedisError, known: &Circumstances) -> String {
    if let Some(error) = &known.last_error {
        let hint = if PASSWORD.iter().any(|start| error.starts_with(start)) { WRONG_PASSWORD } else { "" };
        return format!("{error}{hint}");
    }
    let Circumstances { tls, served_before, .. } = *known;
    let ended = problem.is_connection_dropped() && !problem.is_connection_refusal();
    let hint = match tls_problem(problem).map(tls_hint) {
        Some(hint) => hint,
        None if served_before => "",
        // No error arrived. A Redis without TLS takes the TLS greeting for the beginning of a command, and waits for
        // the rest; a Redis with TLS closes a connection that begins with anything else.
        None if tls && problem.is_timeout() => WITHOUT_TLS,
        None if !tls && ended => WITH_TLS,
        // The reason may get lost in transit.
        None if tls && ended => ASKS_FOR_OURS,
        None => "",
    };
    let separator = if hint.is_empty() { "" } else { "; " };
    format!("{problem}{separator}{hint}")
}

/// The first words of Redis' errors about a user or password.
const PASSWORD: [&str; 4] = ["WRONGPASS", "NOAUTH", "ERR invalid password", "ERR AUTH"];
const WRONG_PASSWORD: &str = "; user or password is wrong: redis_user, redis_password_file, or those in the address";

/// The TLS error, if it is one.
fn tls_problem(problem: &RedisError) -> Option<&rustls::Error> {
    let inner = problem.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    inner.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

fn tls_hint(problem: &rustls::Error) -> &'static str {
    match problem {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            // The signature is bad if an authority was recreated under its old name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "no trusted authority has signed Redis' certificate: set redis_ca to the authority's file"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "Redis' certificate has expired: renew it (or correct the clock)"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "Redis' certificate is not valid yet: is a clock wrong?"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "Redis' certificate is for another host: `redis` must use a name that the certificate has"
            }
            _ => "Redis' certificate is not accepted",
        },
        rustls::Error::InvalidMessage(_) => WITHOUT_TLS,
        rustls::Error::AlertReceived(_) => ASKS_FOR_OURS,
        _ => "the TLS connection could not be made",
    }
}

const WITHOUT_TLS: &str = "if this port does not use TLS, write redis:// in the address";
const ASKS_FOR_OURS: &str = "if Redis asks for a client certificate, set redis_certificate and redis_key";
const WITH_TLS: &str = "if this port uses TLS, write rediss:// in the address";

/// The error with which Redis refuses a command.
pub(super) fn refusal(asked: &Cmd, error: &ServerError) -> String {
    format!("{}: {} {}", right(asked), error.code(), error.details().unwrap_or_default())
}

/// The right that a command needs, as `COMMAND KEY`, with a `*` for every uuid in the key: the form of an ACL.
pub(super) fn right(command: &Cmd) -> String {
    let mut words = command.args_iter().filter_map(|word| match word {
        Arg::Simple(word) => std::str::from_utf8(word).ok(),
        _ => None,
    });
    let name = words.next().unwrap_or_default();
    let Some(key) = words.find(|word| OURS.iter().any(|ours| word.starts_with(ours))) else { return name.to_owned() };
    let pattern = key.split(':').map(|part| if Uuid::try_parse(part).is_ok() { "*" } else { part });
    format!("{name} {}", pattern.collect::<Vec<_>>().join(":"))
}

/// The prefixes of all our keys.
const OURS: [&str; 2] = ["dranspose", "framegate"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_the_command_and_the_pattern_of_its_key() {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(4).arg("STREAMS").arg(format!("dranspose:assigned:{}", Uuid::new_v4())).arg("0-0");
        assert_eq!(right(&read), "XREAD dranspose:assigned:*");
        assert_eq!(
            right(redis::cmd("SETEX").arg("dranspose:ingester:a:config").arg(10).arg("secret")),
            "SETEX dranspose:ingester:a:config"
        );
        assert_eq!(right(redis::cmd("SETEX").arg("secret").arg(b"\xff")), "SETEX");
    }
}
