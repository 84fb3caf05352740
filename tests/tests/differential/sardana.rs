//! Sardana's posts: how a message is one, what a scan of Sardana posts, and our source behind a real client.
//!
//! The first part of a message is the body, because it is what mutations change most; the second is the path below `/v1/`, the third
//! the content type. `tests/peer/reference.py` posts the same.

use framegate_plugin_api::testing::Trial;
use framegate_sardana::{
    Sardana,
    messages::{Kind, Packet},
};
use framegate_tests::process::free_port;
use serde_json::json;

use crate::{
    Capture, Message,
    ours::{self, LIMIT, Made},
};

/// A message as it is posted.
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

impl Post {
    /// Any message is some post.
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

    /// What is wrong with it, if it is a packet at all.
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

/// What Sardana posts in a scan: the bodies of dranspose's simulated one (`stream_sardana` in its `tests/conftest.py`).
pub(crate) fn scan() -> Capture {
    let description = json!({
        "column_desc": [
            {"name": "point_nb", "label": "#Pt No", "dtype": "int64", "shape": []},
            {"min_value": 0, "max_value": 0.1, "instrument": "", "name": "dummy_mot_01", "label": "dummy_mot_01",
             "dtype": "float64", "shape": [], "is_reference": true},
            {"name": "timestamp", "label": "dt", "dtype": "float64", "shape": []},
        ],
        "ref_moveables": ["dummy_mot_01"],
        "estimatedtime": -2.6585786096205566,
        "total_scan_intervals": 2,
        "starttime": "Mon Apr 17 14:19:35 2023",
        "title": "burstscan dummy_mot_01 0.0 0.1 2 50",
        "counters": ["tango://b-v-femtomax-csdb-0.maxiv.lu.se:10000/expchan/oscc_02_seq_ctrl/1"],
        "scanfile": ["stream.daq", "tests_03.h5"],
        "scandir": "/data/staff/femtomax/20230413",
        "serialno": 20338,
    });
    let record = |point| json!({"point_nb": point, "dummy_mot_01": 0, "timestamp": 0.6104741096496582});
    let mut messages = vec![post("data_desc", &description.to_string())];
    messages.extend((0..6).map(|point| post("record_data", &record(point).to_string())));
    messages.push(post("custom_data", r#"{"anything": [1, {"a": null}]}"#));
    messages.push(post("record_data/", &record(6).to_string()));
    messages.push(post("record_end", "{}"));
    Capture { name: "Sardana's posts", protocol: &ours::SARDANA, messages }
}

/// A post.
pub(crate) fn post(path: &str, body: impl AsRef<[u8]>) -> Message {
    Message::new([body.as_ref(), path.as_bytes()])
}

/// One scan of our source: what a client was answered, and the events.
pub(crate) fn ours(messages: &[Message]) -> Made {
    let port = free_port();
    let mut source = Trial::<Sardana>::create(&json!({ "port": port }).to_string()).unwrap();
    source.open().unwrap();
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(LIMIT));
    let client = ureq::Agent::from(config.build());
    let post = |message| {
        let Post { path, content_type, body } = Post::of(message);
        let post = client.post(format!("http://127.0.0.1:{port}{path}")).content_type(content_type);
        let mut answer = post.send(&body).unwrap();
        answer.body_mut().read_to_vec().unwrap();
        answer.status().as_u16()
    };
    let answers = messages.iter().map(post).collect();
    // Whatever was answered lies there to be read.
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
