//! Messages that no detector should send, and some eventually do: empty, huge, truncated and random ones.
//!
//! The same in each run of the check, so that a failure can be reproduced.

use super::upstream::Message;

/// The messages, each with a short description. `good` are real ones; some of them are damaged.
pub(super) fn messages(good: &[Message], quick: bool) -> Vec<(String, Message)> {
    let text = |text: &str| vec![text.as_bytes().to_vec()];
    let mut all: Vec<(String, Message)> = vec![
        ("an empty message".into(), vec![vec![]]),
        ("three empty parts".into(), vec![vec![]; 3]),
        ("a message of 3000 parts".into(), vec![vec![b'x']; 3000]),
        ("a part of 8 MiB of zeros".into(), vec![vec![0; 8 << 20]]),
        ("a second part of 8 MiB".into(), vec![b"{}".to_vec(), vec![7; 8 << 20]]),
        ("text that is not UTF-8".into(), vec![vec![0xff, 0xfe, 0x80]]),
        ("JSON that is nested 100000 deep".into(), vec![b"[".repeat(100_000)]),
        ("JSON that breaks off".into(), text("{\"a\": ")),
        ("an empty JSON object".into(), text("{}")),
        ("huge numbers".into(), text("{\"frame\": 1e999, \"version\": 99999999999999999999999}")),
        ("a line without an end of 1 MiB".into(), vec![vec![b'a'; 1 << 20]]),
        ("lines".into(), text("OK\nERR\n\n\r\n0 0 0\nEND 1 Ok\n")),
        ("half a request of HTTP".into(), text("POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n{")),
        ("no request of HTTP".into(), text("\u{0}\u{1}GET\r\n\r\n")),
    ];
    let mut random = Random(0x5eed);
    for message in good.iter().take(if quick { 3 } else { 12 }) {
        all.push(("a real message without its last part".into(), message[..message.len() - 1].to_vec()));
        let first = &message[0];
        for cut in [1, first.len() / 2, first.len().saturating_sub(1)] {
            let mut cut_message = message.clone();
            cut_message[0].truncate(cut);
            all.push((format!("a real message whose first part ends after {cut} bytes"), cut_message));
        }
        let mut flipped = message.clone();
        for part in flipped.iter_mut().filter(|part| !part.is_empty()) {
            let at = random.below(part.len());
            part[at] ^= 1 << random.below(8);
        }
        all.push(("a real message with wrong bits".into(), flipped));
    }
    all.retain(|(_, message)| !message.is_empty());
    for _ in 0..if quick { 20 } else { 200 } {
        let message = (0..1 + random.below(4)).map(|_| {
            let len = random.below(600);
            (0..len).map(|_| random.below(256) as u8).collect()
        });
        all.push(("random bytes".into(), message.collect()));
    }
    all
}

/// Xorshift: good enough for junk.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
