//! A STINS detector; the test decides every message. (`framegate_stins_detector` has one that runs by itself.)
//!
//! Owns a bound PUSH socket. Message numbers and images are counted from 0 in each run.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

/// See the module.
pub struct Detector {
    socket: zmq::Socket,
    /// The address that receivers connect to.
    pub url: String,
    messages: u64,
    images: u64,
}

impl Detector {
    /// Binds a free port. Few messages fit into its socket, so that a receiver that does not read soon blocks it.
    ///
    /// # Panics
    /// There is no free port.
    #[must_use]
    pub fn bind() -> Self {
        Self::bind_at(Ipv4Addr::LOCALHOST)
    }

    /// The same at `host`, an address of this machine.
    ///
    /// # Panics
    /// As `bind`.
    #[must_use]
    pub fn bind_at(address: Ipv4Addr) -> Self {
        let socket = zmq::Context::new().socket(zmq::PUSH).expect("a socket can be made");
        let set = || {
            socket.set_linger(0)?;
            socket.set_sndhwm(2)?;
            socket.set_sndtimeo(20_000)?;
            socket.bind(&format!("tcp://{address}:*"))
        };
        set().expect("there is a free port");
        let url = socket.get_last_endpoint().ok().and_then(Result::ok).expect("a bound socket has an address");
        Self { socket, url, messages: 0, images: 0 }
    }

    /// Sends the message that begins a run.
    ///
    /// # Panics
    /// No receiver takes it for 20 s; the same for all messages.
    pub fn header(&mut self) {
        (self.messages, self.images) = (0, 0);
        self.send(r#""htype": "header", "filename": "test.h5""#, None);
    }

    /// Sends an image.
    ///
    /// # Panics
    /// As `header`.
    pub fn image(&mut self, pixels: &[u8]) {
        let fields = format!(
            r#""htype": "image", "frame": {}, "shape": [{}], "type": "uint8", "compression": "none""#,
            self.images,
            pixels.len()
        );
        self.images += 1;
        self.send(&fields, Some(pixels));
    }

    /// Sends the message that ends a run.
    ///
    /// # Panics
    /// As `header`.
    pub fn end(&mut self) {
        self.send(r#""htype": "series_end""#, None);
    }

    /// Sends a whole run of images.
    ///
    /// # Panics
    /// As `header`.
    pub fn run(&mut self, images: impl IntoIterator<Item = Vec<u8>>) {
        self.header();
        for image in images {
            self.image(&image);
        }
        self.end();
    }

    /// Sends any message.
    ///
    /// # Panics
    /// As `header`.
    pub fn send_parts(&self, parts: &[&[u8]]) {
        self.socket.send_multipart(parts, 0).expect("somebody takes a message within 20 s");
    }

    /// Whether its socket has had no room for a message during all of this time.
    #[must_use]
    pub fn is_held_back_for(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let left = || until.saturating_duration_since(Instant::now()).as_millis() as i64;
        self.socket.poll(zmq::POLLOUT, left()).is_ok_and(|ready| ready == 0)
    }

    fn send(&mut self, fields: &str, pixels: Option<&[u8]>) {
        let first = format!("{{{fields}, \"msg_number\": {}}}", self.messages);
        self.messages += 1;
        let parts = std::iter::once(first.as_bytes()).chain(pixels).collect::<Vec<_>>();
        self.send_parts(&parts);
    }
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("url", &self.url).finish_non_exhaustive()
    }
}
