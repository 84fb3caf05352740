//! Sardana's posts: how a message encodes a post, the posts of a scan, and our source with a real client.
//!
//! The first part of a message is the body, because mutations mostly change the first part; the second is the path
//! below `/v1/`, the third the content type. `tests/peer/reference.py` posts the same.

use framegate_plugin_api::testing::Trial;
use framegate_sardana::{
    Sardana,
    messages::{Kind, Packet},
};
use framegate_tests::{captures, process::free_port};
use serde_json::json;

use crate::{
    Capture, Case, Message,
    ours::{self, LIMIT, Made},
};

/// A message as a post.
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

impl Post {
    /// Any message is a valid encoding.
    pub(crate) fn of(message: &Message) -> Self {
        let part = |number: usize| message.parts.get(number);
        let mut path = "/v1/".to_owned();
        for byte in part(1).map_or(&b"record_data"[..], Vec::as_slice).iter().take(MOST_OF_PATH) {
            match byte {
                b'_' | b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => path.push(char::from(*byte)),
                other => path.push_str(&format!("%{other:02X}")),
            }
        }
        let given = part(2).and_then(|part| str::from_utf8(part).ok());
        let is_shown = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let content_type = given.filter(is_shown).unwrap_or("application/json").to_owned();
        Self { path, content_type, body: message.first().to_vec() }
    }

    /// What is wrong with the body, if the path is that of a packet.
    pub(crate) fn problems(&self) -> Vec<String> {
        let kind = match self.path.as_str() {
            "/v1/data_desc" => Kind::Description,
            "/v1/record_data" => Kind::Record,
            "/v1/record_end" => Kind::End,
            _ => return Vec::new(),
        };
        let problems = Packet::read(kind, &self.body).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.what.into_owned()).collect()
    }
}

/// Sardana's posts in a scan, and some that give no event.
pub(crate) fn scan() -> Capture {
    let mut messages: Vec<_> = captures::sardana(7).iter().map(|(path, body)| post(path, body)).collect();
    messages.insert(2, post("custom_data", r#"{"anything": [1, {"a": null}]}"#));
    messages.insert(4, post("record_data/", r#"{"timestamp": 1}"#));
    Capture { name: "Sardana's posts", protocol: &ours::SARDANA, messages }
}

/// A post.
pub(crate) fn post(path: &str, body: impl AsRef<[u8]>) -> Message {
    Message::new([body.as_ref(), path.as_bytes()])
}

/// Sends posts, one after the other over one connection; returns the status codes.
pub(crate) fn post_all(port: u16, messages: &[Message]) -> Vec<u16> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(LIMIT));
    let client = ureq::Agent::from(config.build());
    let post = |message| {
        let Post { path, content_type, body } = Post::of(message);
        let post = client.post(format!("http://127.0.0.1:{port}{path}")).content_type(content_type);
        let mut answer = post.send(&body).unwrap();
        answer.body_mut().read_to_vec().unwrap();
        answer.status().as_u16()
    };
    messages.iter().map(post).collect()
}

/// One scan of our source.
pub(crate) fn ours(case: &Case) -> Made {
    let port = free_port();
    let mut source = Trial::<Sardana>::create(&json!({ "port": port }).to_string()).unwrap();
    source.open().unwrap();
    let answers = post_all(port, &case.messages);
    // All answered posts are waiting in the inbox.
    let mut all = Vec::new();
    loop {
        let (events, _) = source.pull().unwrap();
        if events.is_empty() {
            return Made { events: all, answers };
        }
        all.extend(events);
    }
}

const MOST_OF_PATH: usize = 60;
