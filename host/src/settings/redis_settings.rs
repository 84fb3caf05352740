//! How to reach Redis: address, user, password, certificates; and how these are parsed.
//!
//! Pure functions: the named files are read when the host starts, and again for each connection
//! (`control::redis::address`). Nothing here reveals a password: neither `Debug` nor a message.

use std::{fmt, path::PathBuf};

use super::{
    feature::Feature,
    given::{Given, Table},
    keys::{Key, key, settings},
    problems::Problems,
    read::{path, some, text},
    redis_address as form,
};

settings! {
    /// How to reach Redis, and what to publish there.
    #[derive(Clone, PartialEq, Eq)]
    pub struct RedisSettings {
        /// Overrides the password in `url`. Default none.
        pub password: Option<RedisPassword>,
    }
    keys {
        key(REDIS).variables(&["SERVICE_REDIS_DSN", "REDIS_URL"]) =>
            /// The address of Redis: redis://, or rediss:// for TLS. It may contain a password.
            url: String, address, default r#""redis://localhost:6379/0""#;
        key(USER).variables(&["FRAMEGATE_REDIS_USER"]).example(r#""framegate""#) =>
            /// The user at Redis; overrides the one in the address.
            user: Option<String>, some(text), otherwise "the user in the address, if any";
        key(PASSWORD).variables(&["FRAMEGATE_REDIS_PASSWORD"]).example(r#""...""#)
            .otherwise("the password in the address, if any")
            .about(&["The password at Redis; overrides the one in the address. Better is the variable, or a file."]);
        key(PASSWORD_FILE).variables(&["FRAMEGATE_REDIS_PASSWORD_FILE"]).example(r#""/run/secrets/redis""#)
            .otherwise("see `redis_password`")
            .about(&["A file that holds the password alone. It is read for each connection."]);
        key(CA).variables(&["FRAMEGATE_REDIS_CA"]).example(r#""/etc/ssl/beamline-ca.pem""#) =>
            /// TLS: a PEM file with the authorities that may sign Redis' certificate.
            ca: Option<PathBuf>, some(path), otherwise "those that the system trusts";
        key(CERTIFICATE).variables(&["FRAMEGATE_REDIS_CERTIFICATE"]).example(r#""/run/secrets/redis.crt""#) =>
            /// TLS: a PEM file with framegate's own certificate, if Redis asks for one.
            certificate: Option<PathBuf>, some(path), otherwise "none";
        key(KEY).variables(&["FRAMEGATE_REDIS_KEY"]).example(r#""/run/secrets/redis.key""#) =>
            /// TLS: the PEM file with the private key of that certificate.
            key: Option<PathBuf>, some(path), otherwise "none";
        key(BUILD_META).variables(&["BUILD_META_FILE"]) =>
            /// The file with the build information to publish. It has commit_hash, branch_name, timestamp and
            /// repository_url; if it is absent or invalid, null is published.
            build_meta: PathBuf, path, default r#""/etc/build_git_meta.json""#;
    }
}

/// The origin of a password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisPassword {
    /// The password itself.
    Text(String),
    /// A file that contains only the password; white space at its end is ignored. Read for each connection.
    File(PathBuf),
}

impl RedisSettings {
    /// Settings with defaults.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), ..Self::defaults(None) }
    }

    /// Whether connections are encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        form::is_tls(&self.url)
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, user, password, ca, certificate, key, build_meta } = self;
        let mut told = f.debug_struct("RedisSettings");
        told.field("user", user).field("password", password).field("ca", ca).field("certificate", certificate);
        told.field("key", key).field("build_meta", build_meta).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

const REDIS: &str = "redis";
const USER: &str = "redis_user";
pub(super) const PASSWORD: &str = "redis_password";
pub(super) const PASSWORD_FILE: &str = "redis_password_file";
const CA: &str = "redis_ca";
const CERTIFICATE: &str = "redis_certificate";
const KEY: &str = "redis_key";
const BUILD_META: &str = "build_meta";

/// Reads a table's settings for Redis. Reports problems, and continues with the rest.
pub(super) fn read(top: &Table, problems: &mut Problems) -> RedisSettings {
    let mut settings = RedisSettings::defaults(None);
    if !Feature::Redis.is_there() {
        without_feature(top, problems);
        return settings;
    }
    settings.read(top, problems);
    let text = top.read(PASSWORD, problems, text).map(RedisPassword::Text);
    let file = top.read(PASSWORD_FILE, problems, path).map(RedisPassword::File);
    if let (Some(_), Some(given)) = (&text, top.get(PASSWORD_FILE)) {
        let advice = "keep one of them";
        problems.add(&given.origin, format_args!("there is {PASSWORD} and {PASSWORD_FILE}\n  {advice}"));
    }
    settings.password = text.or(file);
    if !problems.has(REDIS) {
        together(top, &settings, problems);
    }
    settings
}

/// Reports the first setting for Redis in a program without Redis. Without any there is nothing to name; the start of the
/// host reports it then, unless the program sets another `control` before.
fn without_feature(top: &Table, problems: &mut Problems) {
    let mut keys = KEYS.iter().filter(|key| contradicts_standalone(key)).map(|key| key.name);
    if let Some((key, given)) = keys.find_map(|key| Some((key, top.get(key)?))) {
        problems.add_value(key, given, &Feature::Redis.missing());
    }
}

/// Checks settings that need other settings.
fn together(top: &Table, settings: &RedisSettings, problems: &mut Problems) {
    let mut alone = |key, why: &str| {
        if let Some(given) = top.get(key) {
            problems.add_value(key, given, why);
        }
    };
    if !settings.is_tls() {
        for key in [CA, CERTIFICATE, KEY] {
            alone(key, &format!("it is for encrypted connections, but the address of Redis does not begin with {TLS}"));
        }
    }
    if settings.certificate.is_some() && settings.key.is_none() {
        alone(CERTIFICATE, "its private key is missing: redis_key");
    }
    if settings.key.is_some() && settings.certificate.is_none() {
        alone(KEY, "the certificate that it belongs to is missing: redis_certificate");
    }
    if settings.password.is_none() && !form::has_password(&settings.url) {
        alone(USER, &format!("its password is missing: {PASSWORD_FILE}, or {PASSWORD}"));
    }
}

/// Whether a key makes sense only with Redis. Build information alone is harmless.
pub(super) fn contradicts_standalone(key: &Key) -> bool {
    key.name != BUILD_META && KEYS.iter().any(|of_redis| of_redis.name == key.name)
}

/// Reports all Redis settings in a table that wants no Redis.
pub(super) fn contradict(top: &Table, standalone: &Table, problems: &mut Problems) {
    for key in KEYS.iter().filter(|key| contradicts_standalone(key)).map(|key| key.name) {
        if let Some(given) = top.get(key) {
            let advice = "keep `redis` for a dranspose controller, or [standalone] to do without one";
            let origin = &standalone.origin;
            problems.add(&given.origin, format_args!("{key}: contradicts [standalone] ({origin})\n  {advice}"));
        }
    }
}

/// Checks only the form; never repeats the address, which may contain a password.
fn address(given: &Given) -> Result<String, String> {
    let text = text(given)?;
    form::check(&text).map_err(|why| format!("not a Redis address: {why}\n  expected {FORM}"))?;
    Ok(text)
}

const FORM: &str = "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], with rediss:// for TLS";
const TLS: &str = "rediss://";

#[cfg(test)]
#[cfg(all(feature = "admin", feature = "capture", feature = "plugins", feature = "redis"))]
mod tests {
    use super::*;
    use crate::settings::{
        Control, Settings,
        layers::{Flags, run},
        tests::{environment, problems, texts},
    };

    const REST: &str = "[[ingester]]\nstream = [{ name = 's', source = 'x' }]";

    /// The combined settings of a file and variables; `REST` completes the file.
    fn seen(file: &str, variables: &[(&str, &str)]) -> Result<RedisSettings, String> {
        let checked = run(&format!("{file}\n{REST}"), "f", &environment(variables), &Flags::default());
        match checked.map_err(|wrong| texts(&wrong.problems).join("\n"))?.settings.control {
            Control::Redis(redis) => Ok(redis),
            _ => Err("it is standalone".into()),
        }
    }

    #[test]
    fn an_address_of_redis_is_checked_and_never_repeated() {
        for good in ["h", "h:1", "h:1/3", ":geheim@h", "user:geheim@[::1]:1/0"] {
            for scheme in ["redis", "rediss"] {
                Settings::from_toml(&format!("redis = '{scheme}://{good}'\n{REST}")).unwrap();
            }
        }
        for (bad, says) in [
            ("localhost:6379", "does not begin with redis://"),
            ("127.0.0.1:6379", "it has no scheme; write redis:// before it"),
            ("redis://h:99999", "the port must be 1 to 65535"),
            ("redis://", "host is missing"),
            ("redis://u:geheim@h:port", "port"),
            ("redis://u:geheim@h/zero", "database"),
            ("rediss://u:geheim@h#insecure", "certificates are always checked"),
        ] {
            let told = problems(&format!("redis = '{bad}'\n{REST}"));
            assert!(told[0].contains(says) && told[0].contains("redis://[USER:PASSWORD@]HOST"), "{bad}: {told:?}");
            assert!(!told[0].contains("geheim"), "{told:?}");
        }
    }

    #[test]
    fn what_belongs_to_redis_contradicts_standalone_but_for_variables_of_a_whole_machine() {
        let both = problems(&format!("redis = 'redis://h'\nredis_password = 'geheim'\n[standalone]\n{REST}"));
        assert!(both[0].starts_with("line 1: redis: contradicts [standalone] (line 3)"), "{both:?}");
        assert!(both[1].starts_with("line 2: redis_password: contradicts [standalone]"), "{both:?}");
        assert!(!both[1].contains("geheim"), "{both:?}");
        let variables = [("REDIS_URL", "redis://h"), ("FRAMEGATE_REDIS_PASSWORD", "geheim")];
        assert_eq!(seen("[standalone]", &variables), Err("it is standalone".into()));
    }

    #[test]
    fn each_key_has_a_variable_that_counts_before_it() {
        let file = "redis = 'rediss://h'\nredis_user = 'a'\nredis_password_file = 'b'\nredis_ca = 'c'\n\
                    redis_certificate = 'd'\nredis_key = 'e'";
        let mut expected = RedisSettings::new("rediss://h");
        let set = |settings: &mut RedisSettings, mark: &str| {
            let path = |name: &str| Some(PathBuf::from(format!("{name}{mark}")));
            settings.user = Some(format!("a{mark}"));
            settings.password = path("b").map(RedisPassword::File);
            (settings.ca, settings.certificate, settings.key) = (path("c"), path("d"), path("e"));
        };
        set(&mut expected, "");
        assert_eq!(seen(file, &[]), Ok(expected.clone()));
        let mut variables = vec![
            ("FRAMEGATE_REDIS_USER", "a2"),
            ("FRAMEGATE_REDIS_PASSWORD_FILE", "b2"),
            ("framegate_redis_ca", "c2"),
            ("FRAMEGATE_REDIS_CERTIFICATE", "d2"),
            ("FRAMEGATE_REDIS_KEY", "e2"),
        ];
        set(&mut expected, "2");
        assert_eq!(seen(file, &variables), Ok(expected.clone()));
        // A password in the environment overrides the file that the configuration names.
        variables[1] = ("FRAMEGATE_REDIS_PASSWORD", "geheim");
        expected.password = Some(RedisPassword::Text("geheim".into()));
        assert_eq!(seen(file, &variables), Ok(expected));
    }

    #[test]
    fn what_makes_sense_only_with_something_else_is_told_without_it() {
        for (file, says) in [
            ("redis_ca = '/ca'", "f:1: redis_ca: it is for encrypted connections"),
            ("redis = 'rediss://h'\nredis_key = '/k'", "f:2: redis_key: the certificate that it belongs to is missing"),
            ("redis = 'rediss://h'\nredis_certificate = '/c'", "f:2: redis_certificate: its private key is missing"),
            ("redis_user = 'me'", "f:1: redis_user: its password is missing: redis_password_file"),
            (
                "redis_password = 'geheim'\nredis_password_file = '/f'",
                "f:2: there is redis_password and redis_password_file",
            ),
            ("redis_password = ''", "f:1: redis_password: it is empty"),
            ("redis_password = 7331", "f:1: redis_password: expected a text in quotes, not an integer"),
        ] {
            let told = seen(file, &[]).unwrap_err();
            assert!(told.starts_with(says) && !told.contains("geheim") && !told.contains("7331"), "{told}");
        }
        let told = seen("", &[("FRAMEGATE_REDIS_CA", "/ca")]).unwrap_err();
        assert!(told.starts_with("variable FRAMEGATE_REDIS_CA: it is for encrypted connections"), "{told}");
        assert!(seen("redis = 'redis://:geheim@h'\nredis_user = 'me'", &[]).is_ok());
    }

    #[test]
    fn no_password_is_shown_by_debug() {
        let mut settings = seen("redis = 'redis://me:geheim@h'", &[("FRAMEGATE_REDIS_PASSWORD", "geheim")]).unwrap();
        assert!(!format!("{settings:?}").contains("geheim"));
        settings.password = Some(RedisPassword::File("/run/secrets/redis".into()));
        assert!(format!("{settings:?}").contains("/run/secrets/redis"));
    }
}
