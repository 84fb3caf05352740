//! A separate Redis for each test: real `redis-server`, on a free port, with its own data folder.
//!
//! A test may kill it, restart it with or without its data, and make it hang.

use std::{
    fs,
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel as channel_of},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use redis::{ClientTlsConfig, TlsCertificates};

use crate::{
    certificates::{Authority, Certificate},
    process::{free_port, wait_for},
};

/// How long a server may take to answer.
const LIMIT: Duration = Duration::from_secs(60);

/// See the module. Dropping it kills the server.
#[derive(Debug)]
pub struct RedisServer {
    host: Ipv4Addr,
    port: u16,
    password: Option<String>,
    tls: Option<Tls>,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

#[derive(Debug)]
struct Tls {
    authority: Authority,
    own: Certificate,
    /// Whether clients need certificates signed by its authority.
    asks: bool,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// There is no `redis-server`, or it does not answer.
    #[must_use]
    pub fn start() -> Self {
        let mut server = Self::absent();
        server.launch();
        server
    }

    /// A server with a password.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    #[must_use]
    pub fn with_password(password: &str) -> Self {
        let mut server = Self::absent();
        server.password = Some(password.to_owned());
        server.launch();
        server
    }

    /// A server with TLS only, and a certificate signed by `authority`.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    #[must_use]
    pub fn with_tls(authority: Authority, own: Certificate) -> Self {
        let mut server = Self::absent();
        server.tls = Some(Tls { authority, own, asks: false });
        server.launch();
        server
    }

    /// The same; clients also need certificates signed by this authority.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    #[must_use]
    pub fn with_tls_for_both(authority: Authority, own: Certificate) -> Self {
        let mut server = Self::absent();
        server.tls = Some(Tls { authority, own, asks: true });
        server.launch();
        server
    }

    /// An unused address, until [`RedisServer::launch`].
    ///
    /// # Panics
    /// No folder can be created.
    #[must_use]
    pub fn absent() -> Self {
        Self::absent_at(Ipv4Addr::LOCALHOST)
    }

    /// The same at `host`, an address of this machine.
    ///
    /// # Panics
    /// No folder can be created.
    #[must_use]
    pub fn absent_at(host: Ipv4Addr) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { host, port: free_port(), password: None, tls: None, folder, child: None }
    }

    /// Starts the server with the data in its folder, and waits until it answers.
    ///
    /// # Panics
    /// There is no `redis-server`, it is already running, or it does not answer.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = Command::new("redis-server");
        let port = if self.tls.is_some() { ["--port", "0", "--tls-port"].as_slice() } else { &["--port"] };
        command.args(port).arg(self.port.to_string()).args(["--bind", &self.host.to_string(), "--save", ""]);
        // It is on the test's own network, or on loopback.
        command.args(["--protected-mode", "no", "--dir"]).arg(self.folder.path());
        if let Some(Tls { authority, own, asks }) = &self.tls {
            command.arg("--tls-ca-cert-file").arg(authority.file()).arg("--tls-cert-file").arg(&own.certificate);
            command.arg("--tls-key-file").arg(&own.key).args(["--tls-auth-clients", if *asks { "yes" } else { "no" }]);
        }
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.child = Some(child.expect("redis-server is installed (Debian: apt install redis-server)"));
        wait_for("redis-server to answer", LIMIT, || {
            let mut connection = self.client().get_connection().ok()?;
            redis::cmd("PING").query::<String>(&mut connection).ok()
        });
    }

    /// Whether it is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// The URL for programs, password included.
    #[must_use]
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{password}{}:{}/0", self.host, self.port)
    }

    /// The authority that signed its certificate.
    ///
    /// # Panics
    /// It has none.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.tls.as_ref().expect("it speaks TLS").authority
    }

    fn client(&self) -> redis::Client {
        let Some(Tls { authority, own, .. }) = &self.tls else {
            return redis::Client::open(self.url()).expect("our own address is one");
        };
        // Trusted without a check: this is the test's own connection to its own server.
        let read = |path| fs::read(path).expect("our own files can be read");
        let client_tls = ClientTlsConfig { client_cert: read(&own.certificate), client_key: read(&own.key) };
        let certificates = TlsCertificates { client_tls: Some(client_tls), root_cert: Some(read(&authority.file())) };
        redis::Client::build_with_tls(self.url(), certificates).expect("our own address is one")
    }

    /// Its process id.
    ///
    /// # Panics
    /// It is not running.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same with `user`, a name and password, in front of the host.
    #[must_use]
    pub fn url_with(&self, user: &str) -> String {
        format!("redis://{user}@{}:{}/0", self.host, self.port)
    }

    /// Opens a connection.
    ///
    /// # Panics
    /// It does not answer.
    #[must_use]
    pub fn connect(&self) -> redis::Connection {
        self.client().get_connection().expect("redis-server answers")
    }

    /// Sends one command.
    ///
    /// # Panics
    /// It does not answer, or with an unexpected type.
    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.connect()).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Reports from now on when a key is written.
    ///
    /// # Panics
    /// It does not answer.
    #[must_use]
    pub fn writes_of(&self, key: &str) -> Receiver<Instant> {
        let _: String = self.ask(&["CONFIG", "SET", "notify-keyspace-events", "K$"]);
        let mut connection = self.connect();
        let channel = format!("__keyspace@0__:{key}");
        let (tell, told) = channel_of();
        let (ready, subscribed) = channel_of();
        thread::spawn(move || {
            let mut messages = connection.as_pubsub();
            messages.subscribe(channel).expect("SUBSCRIBE");
            let _ = ready.send(Instant::now());
            // Ends with the server, or with the receiver.
            while messages.get_message().is_ok() && tell.send(Instant::now()).is_ok() {}
        });
        subscribed.recv_timeout(LIMIT).expect("it is subscribed");
        told
    }

    /// Writes its data to disk, for a restart with data.
    pub fn save(&self) {
        let _: String = self.ask(&["SAVE"]);
    }

    /// Makes saving its data fail, so that it refuses writes until `CONFIG SET save ""`.
    ///
    /// # Panics
    /// It does not answer.
    pub fn make_saving_fail(&self) {
        fs::create_dir(self.folder.path().join("dump.rdb")).expect("nothing was saved yet");
        let _: () = self.ask(&["CONFIG", "SET", "save", "3600 1000000"]);
        let _: String = self.ask(&["BGSAVE"]);
    }

    /// Removes its data from disk, for a restart without data.
    ///
    /// # Panics
    /// It does not answer.
    pub fn forget(&self) {
        let _: () = self.ask(&["FLUSHALL"]);
        self.save();
    }

    /// Kills it at once. Unsaved data is lost.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Makes it hang: it keeps its connections and does not answer.
    ///
    /// # Panics
    /// It is not running.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Ends a [`RedisServer::pause`].
    ///
    /// # Panics
    /// It is not running.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).expect("a process id is an i32");
        kill(Pid::from_raw(id), signal).expect("our own child can be signalled");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
