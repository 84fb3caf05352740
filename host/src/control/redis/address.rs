//! Where Redis is, and what opens it: user, password, certificates.
//!
//! Runs where the host starts, and then on the tasks of the driver, for each connection. Files of secrets are read anew for
//! each connection, so that an exchanged password or certificate needs no restart. It holds secrets, and shows none: `Debug` and
//! messages have the place alone.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use redis::{
    Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError, TlsCertificates,
};

use crate::settings::{RedisPassword, RedisSettings};

/// See the module.
#[derive(Clone)]
pub(crate) struct Address {
    info: ConnectionInfo,
    password_file: Option<PathBuf>,
    /// None: without TLS.
    tls: Option<TlsFiles>,
    place: String,
}

/// PEM files.
#[derive(Debug, Clone)]
struct TlsFiles {
    ca: Option<PathBuf>,
    /// Certificate and key.
    own: Option<(PathBuf, PathBuf)>,
}

impl Address {
    /// Checks the address, and reads every file that it needs once.
    ///
    /// # Errors
    /// What is wrong with it; never repeats the address, nor what is in a file.
    pub(crate) fn new(settings: &RedisSettings) -> Result<Self, String> {
        let wrong = |problem: RedisError| format!("no address of Redis: {problem}");
        let info = settings.url.as_str().into_connection_info().map_err(wrong)?;
        let place = format!("{}/{}", info.addr(), info.redis_settings().db());
        // Replies are read as RESP 2 has them, whatever the address asks for.
        let mut redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        // One right less to ask for.
        redis = redis.set_skip_set_lib_name();
        if let Some(user) = &settings.user {
            redis = redis.set_username(user);
        }
        let mut password_file = None;
        match &settings.password {
            Some(RedisPassword::Text(password)) => redis = redis.set_password(password),
            Some(RedisPassword::File(path)) => password_file = Some(path.clone()),
            None => {}
        }
        let own = settings.certificate.clone().zip(settings.key.clone());
        let tls = settings.is_tls().then(|| TlsFiles { ca: settings.ca.clone(), own });
        if tls.is_some() {
            // Err: the program that embeds us has chosen. Without a choice rustls panics where two are compiled in.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let address = Self { info: info.set_redis_settings(redis), password_file, tls, place };
        address.client()?;
        Ok(address)
    }

    /// What connects, with what the files hold now.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else.
    pub(super) fn client(&self) -> Result<Client, String> {
        let mut info = self.info.clone();
        if let Some(path) = &self.password_file {
            let redis = info.redis_settings().clone().set_password(password(path)?);
            info = info.set_redis_settings(redis);
        }
        let wrong = |problem: RedisError| format!("no address of Redis: {problem}");
        let Some(files) = &self.tls else { return Client::open(info).map_err(wrong) };
        let root_cert = files.ca.as_deref().map(|path| pem("redis_ca", path, "CERTIFICATE")).transpose()?;
        let client_tls = match &files.own {
            Some((certificate, key)) => Some(ClientTlsConfig {
                client_cert: pem("redis_certificate", certificate, "CERTIFICATE")?,
                client_key: pem("redis_key", key, "PRIVATE KEY")?,
            }),
            None => None,
        };
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
            .map_err(|problem| format!("redis_ca, redis_certificate or redis_key: {problem}"))
    }

    /// Whether connections are encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
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

/// The password in a file. Editors and `echo` end it with a line break, which is none of it.
fn password(path: &Path) -> Result<String, String> {
    let about = |problem: &str| format!("redis_password_file: {}: {problem}", path.display());
    let text = String::from_utf8(content(path).map_err(|problem| about(&problem))?);
    let text = text.map_err(|_| about("it is not UTF-8"))?;
    match text.trim_end() {
        "" => Err(about("it is empty")),
        password => Ok(password.to_owned()),
    }
}

/// A PEM file, which must have something of this kind in it.
fn pem(key: &str, path: &Path, kind: &str) -> Result<Vec<u8>, String> {
    let about = |problem: &str| format!("{key}: {}: {problem}", path.display());
    let content = content(path).map_err(|problem| about(&problem))?;
    let mark = format!("{kind}-----");
    if !content.windows(mark.len()).any(|part| part == mark.as_bytes()) {
        return Err(about(&format!("it is no PEM file with a {}", kind.to_lowercase())));
    }
    Ok(content)
}

fn content(path: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content));
    match read {
        Err(problem) => Err(problem.to_string()),
        Ok(bytes) if bytes as u64 > LARGEST => Err(format!("it has more than {LARGEST} bytes")),
        Ok(_) => Ok(content),
    }
}

/// Bytes of a file of secrets at most; a system's whole bundle of certificates has some 200 KB.
const LARGEST: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_password_file(content: &[u8]) -> Result<Address, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, content).unwrap();
        let mut settings = RedisSettings::new("redis://me:of-url@example.org");
        settings.password = Some(RedisPassword::File(path));
        let address = Address::new(&settings)?;
        assert_eq!(address.client().unwrap().get_connection_info().redis_settings().username(), Some("me"));
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
        let password =
            || address.client().unwrap().get_connection_info().redis_settings().password().map(str::to_owned);
        assert_eq!(password().as_deref(), Some("first @:/ secret"));
        std::fs::write(&path, "second").unwrap();
        assert_eq!(password().as_deref(), Some("second"));
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
            ("secret", "ca.pem: it is no PEM file with a certificate"),
            ("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", "ca.pem: it is no PEM file"),
            ("-----BEGIN CERTIFICATE-----\nsecret\n-----END CERTIFICATE-----\n", "redis_ca"),
        ] {
            std::fs::write(&path, content).unwrap();
            let problem = Address::new(&settings).unwrap_err();
            assert!(problem.contains(says) && !problem.contains("secret"), "{problem}");
        }
    }
}
