//! The current credentials for Redis, from their files: a password, certificates and keys.
//!
//! A file system may hang, so files are read on a separate thread, with a time limit. There is one such thread at a
//! time: if it hangs it stays, and later callers wait for the same one.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::sync::oneshot;

/// Time limit for reading.
const LIMIT: Duration = Duration::from_secs(2);
/// Maximum size of a credential file; a system's bundle of certificates has some 200 KB.
const LARGEST: u64 = 4 << 20;

/// The paths of the credentials.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    pub(super) password: Option<PathBuf>,
    /// `None`: without TLS.
    pub(super) tls: Option<TlsFiles>,
}

/// PEM files.
#[derive(Debug, Clone)]
pub(super) struct TlsFiles {
    pub(super) ca: Option<PathBuf>,
    /// Certificate and key.
    pub(super) own: Option<(PathBuf, PathBuf)>,
}

/// The content of the files.
#[derive(Clone, Default)]
pub(super) struct Keys {
    pub(super) password: Option<String>,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// The result of a running read.
type Reading = oneshot::Receiver<Result<Keys, String>>;

/// Reads the files repeatedly. Cheap to clone; all clones share one thread.
#[derive(Clone)]
pub(super) struct Secrets {
    files: Files,
    /// The running read, if any.
    under_way: Arc<tokio::sync::Mutex<Option<Reading>>>,
    /// The file that it is reading.
    now: Arc<Mutex<String>>,
}

impl Secrets {
    pub(super) fn new(files: Files) -> Self {
        Self { files, under_way: Arc::default(), now: Arc::default() }
    }

    /// Reads the files when the host starts.
    ///
    /// # Errors
    /// A file that cannot be read, or has the wrong content; never the content itself.
    pub(super) fn read_at_start(&self) -> Result<Keys, String> {
        if self.are_none() {
            return Ok(Keys::default());
        }
        let (tell, told) = mpsc::channel();
        self.spawn(move |keys| drop(tell.send(keys)))?;
        told.recv_timeout(LIMIT).unwrap_or_else(|_| Err(self.hangs()))
    }

    /// Reads the files on a task.
    ///
    /// # Errors
    /// As [`Secrets::read_at_start`].
    pub(super) async fn read(&self) -> Result<Keys, String> {
        if self.are_none() {
            return Ok(Keys::default());
        }
        let read = async {
            let mut under_way = self.under_way.lock().await;
            if let Some(before) = under_way.as_mut() {
                // Its result may be outdated by now.
                let _ = before.await;
            }
            let (tell, told) = oneshot::channel();
            *under_way = None;
            self.spawn(move |keys| drop(tell.send(keys)))?;
            let keys = under_way.insert(told).await;
            *under_way = None;
            keys.unwrap_or_else(|_| Err(format!("{}: the thread that reads it died", self.now())))
        };
        tokio::time::timeout(LIMIT, read).await.unwrap_or_else(|_| Err(self.hangs()))
    }

    fn are_none(&self) -> bool {
        self.files.password.is_none() && self.files.tls.is_none()
    }

    fn spawn(&self, tell: impl FnOnce(Result<Keys, String>) + Send + 'static) -> Result<(), String> {
        let Self { files, now, .. } = self.clone();
        let read = move || tell(files.read(&|name| *lock(&now) = name.to_owned()));
        let thread = thread::Builder::new().name("secrets".to_owned()).spawn(read);
        thread.map(drop).map_err(|problem| format!("no thread to read passwords and certificates: {problem}"))
    }

    fn now(&self) -> String {
        lock(&self.now).clone()
    }

    fn hangs(&self) -> String {
        format!("{}: reading it does not return within {LIMIT:?}; does its file system hang?", self.now())
    }
}

fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files {
    /// Blocks as long as the file system does; reports the file that it is reading.
    fn read(&self, says: &dyn Fn(&str)) -> Result<Keys, String> {
        let file = |key: &str, path: &Path| {
            let name = format!("{key}: {}", path.display());
            says(&name);
            content(path).map_err(|problem| format!("{name}: {problem}"))
        };
        let mut keys = Keys::default();
        if let Some(path) = &self.password {
            keys.password = Some(password(path, file("redis_password_file", path)?)?);
        }
        let Some(files) = &self.tls else { return Ok(keys) };
        let pem = |key: &str, path: &Path, kind: &str| is_pem(file(key, path)?, key, path, kind);
        let roots = match &files.ca {
            Some(path) => roots(&pem("redis_ca", path, "CERTIFICATE")?)?,
            None => {
                says("the system's certificates");
                roots_of_the_system()
            }
        };
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match &files.own {
            Some((certificate, key)) => {
                let chain = certificates(&pem("redis_certificate", certificate, "CERTIFICATE")?)?;
                let key = PrivateKeyDer::from_pem_slice(&pem("redis_key", key, "PRIVATE KEY")?).map_err(wrong)?;
                config.with_client_auth_cert(chain, key).map_err(wrong)?
            }
            None => config.with_no_client_auth(),
        };
        keys.tls = Some(Arc::new(config));
        Ok(keys)
    }
}

fn wrong(problem: impl std::fmt::Display) -> String {
    format!("redis_ca, redis_certificate or redis_key: {problem}")
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(wrong)
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    certificates(pem)?.into_iter().try_for_each(|one| roots.add(one)).map_err(wrong)?;
    Ok(roots)
}

/// The certificates that the system trusts. An invalid one is skipped; if there are none, the error at connecting says what helps.
fn roots_of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The password in a file. Editors and `echo` add a line break, which is not part of it.
fn password(path: &Path, content: Vec<u8>) -> Result<String, String> {
    let about = |problem: &str| format!("redis_password_file: {}: {problem}", path.display());
    let text = String::from_utf8(content).map_err(|_| about("it is not UTF-8"))?;
    match text.trim_end() {
        "" => Err(about("it is empty")),
        password => Ok(password.to_owned()),
    }
}

/// Checks that the content of a PEM file contains an item of this kind.
fn is_pem(content: Vec<u8>, key: &str, path: &Path, kind: &str) -> Result<Vec<u8>, String> {
    let mark = format!("{kind}-----");
    if content.windows(mark.len()).any(|part| part == mark.as_bytes()) {
        return Ok(content);
    }
    Err(format!("{key}: {}: it is not a PEM file with a {}", path.display(), kind.to_lowercase()))
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
