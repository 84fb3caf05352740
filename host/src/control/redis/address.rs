//! The address of Redis, and its credentials: user, password, certificates.
//!
//! Used where the host starts, and later on the driver's tasks, for each connection. Credential files are read again
//! for each connection, so that a new password or certificate needs no restart. It holds secrets and shows none:
//! `Debug` and messages contain only the place.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError};

use super::secrets::{Files, Keys, Secrets, TlsFiles};
use crate::settings::{RedisPassword, RedisSettings};

/// See the module.
#[derive(Clone)]
pub(crate) struct Address {
    info: ConnectionInfo,
    secrets: Secrets,
    place: String,
}

impl Address {
    /// Checks the address, and reads all its files once.
    ///
    /// # Errors
    /// The problem; never contains the address, nor the content of a file.
    pub(crate) fn new(settings: &RedisSettings) -> Result<Self, String> {
        let wrong = |problem: RedisError| format!("not a Redis address: {problem}");
        let info = settings.url.as_str().into_connection_info().map_err(wrong)?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(
                "not a Redis address: #insecure is not supported; redis_ca names a file with the trusted authorities"
                    .into(),
            );
        }
        let place = format!("{}/{}", info.addr(), info.redis_settings().db());
        // Our parsers read replies in RESP 2, regardless of the address.
        let mut redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        // Our user then needs one right less.
        redis = redis.set_skip_set_lib_name();
        if let Some(user) = &settings.user {
            redis = redis.set_username(user);
        }
        let mut files = Files::default();
        match &settings.password {
            Some(RedisPassword::Text(password)) => redis = redis.set_password(password),
            Some(RedisPassword::File(path)) => files.password = Some(path.clone()),
            None => {}
        }
        let own = settings.certificate.clone().zip(settings.key.clone());
        files.tls = settings.is_tls().then(|| TlsFiles { ca: settings.ca.clone(), own });
        if files.tls.is_some() {
            // Err: the embedding program has chosen a provider. Without a choice rustls panics if two are compiled in.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let address = Self { info: info.set_redis_settings(redis), secrets: Secrets::new(files), place };
        address.secrets.read_at_start()?;
        Ok(address)
    }

    /// Host, port, user and database.
    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// The current content of the files.
    ///
    /// # Errors
    /// A file that cannot be read or has the wrong content.
    pub(super) async fn keys(&self) -> Result<Keys, String> {
        self.secrets.read().await
    }

    /// Whether connections are encrypted.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// `host:port/database`.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Address").field(&self.place).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(address: &Address) -> Option<String> {
        address.secrets.read_at_start().unwrap().password
    }

    fn with_password_file(content: &[u8]) -> Result<Address, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, content).unwrap();
        let mut settings = RedisSettings::new("redis://me:of-url@example.org");
        settings.password = Some(RedisPassword::File(path));
        let address = Address::new(&settings)?;
        assert_eq!(address.info().redis_settings().username(), Some("me"));
        Ok(address)
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let mut settings = RedisSettings::new("redis://me:secret@example.org:6380/2");
        settings.password = Some(RedisPassword::Text("secret".into()));
        let address = Address::new(&settings).unwrap();
        assert_eq!(address.place(), "example.org:6380/2");
        assert!(!format!("{address:?} {settings:?}").contains("secret"));
        for wrong in ["http://me:secret@example.org", "redis://me:secret@example.org/none", "example.org", ""] {
            let problem = Address::new(&RedisSettings::new(wrong)).unwrap_err();
            assert!(!problem.is_empty() && !problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn a_password_is_what_is_in_its_file_now_without_the_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let mut settings = RedisSettings::new("redis://example.org");
        settings.password = Some(RedisPassword::File(path.clone()));
        let problem = Address::new(&settings).unwrap_err();
        assert!(problem.starts_with(&format!("redis_password_file: {}: No such file", path.display())), "{problem}");
        std::fs::write(&path, "first @:/ secret\r\n").unwrap();
        let address = Address::new(&settings).unwrap();
        assert_eq!(password(&address).as_deref(), Some("first @:/ secret"));
        std::fs::write(&path, "second").unwrap();
        assert_eq!(password(&address).as_deref(), Some("second"));
    }

    #[test]
    fn a_file_that_holds_no_password_is_refused_without_what_it_holds() {
        assert!(with_password_file(b"good").is_ok());
        for (content, says) in [(&b""[..], "empty"), (b"\n \n", "empty"), (b"secret\xff", "UTF-8")] {
            let problem = with_password_file(content).unwrap_err();
            assert!(problem.contains(says) && !problem.contains("secret"), "{problem}");
        }
        assert!(with_password_file(&vec![b'x'; 5 << 20]).unwrap_err().contains("more than"));
    }

    #[test]
    fn files_of_certificates_that_hold_something_else_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let mut settings = RedisSettings::new("rediss://example.org");
        settings.ca = Some(path.clone());
        for (content, says) in [
            ("secret", "ca.pem: it is not a PEM file with a certificate"),
            ("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", "ca.pem: it is not a PEM file"),
            ("-----BEGIN CERTIFICATE-----\nsecret\n-----END CERTIFICATE-----\n", "redis_ca"),
        ] {
            std::fs::write(&path, content).unwrap();
            let problem = Address::new(&settings).unwrap_err();
            assert!(problem.contains(says) && !problem.contains("secret"), "{problem}");
        }
    }
}
