//! The intended differences between our sources and dranspose; the reasons are in the plugins' README.md, under "Where
//! it differs from dranspose". Differences in memory and time only are tested in the plugins themselves.
//!
//! A difference is defined by the messages that dranspose must not get: without them it gives the same events. So a
//! case with a difference is not skipped, and everything else in it is still compared.

use framegate_contrast::pickle::Reader;
use framegate_lecroy::messages::Packet as Lecroy;
use framegate_xspress::messages::{HasHtype, Packet as Xspress};

use crate::{
    Case, Message, Outcome,
    ours::{CONTRAST, LECROY, SARDANA, XSPRESS, digest},
    sardana::{Post, post},
};

/// The case without the messages that dranspose handles differently.
pub(crate) fn spare(case: &Case) -> Case {
    let mut case = case.clone();
    match case.protocol {
        protocol if std::ptr::eq(protocol, &CONTRAST) => spare_what_is_not_read(&mut case.messages),
        protocol if std::ptr::eq(protocol, &LECROY) => spare_what_follows_a_prepare(&mut case.messages),
        protocol if std::ptr::eq(protocol, &SARDANA) => case.messages.retain(|message| !is_taken_there(message)),
        protocol if std::ptr::eq(protocol, &XSPRESS) => spare_broken_images(&mut case.messages),
        _ => {}
    }
    case
}

/// Whether our events equal dranspose's for the reduced case, and our answers equal its answers for the whole case. For
/// damaged arrays numpy may decide either way: such events are ignored on both sides.
pub(crate) fn agree(case: &Case, ours: &Outcome, theirs: &Outcome, spared: &Outcome) -> bool {
    let is_of_arrays =
        |message: &&Message| message.is_damaged && message.first().windows(5).any(|word| word == b"numpy");
    let arrays = case.messages.iter().filter(|_| std::ptr::eq(case.protocol, &CONTRAST)).filter(is_of_arrays);
    let damaged: Vec<Vec<_>> = arrays.map(|message| message.parts.iter().map(|part| digest(part)).collect()).collect();
    let others = |outcome: &Outcome| {
        outcome.events.iter().filter(|(_, frames)| !damaged.contains(frames)).cloned().collect::<Vec<_>>()
    };
    others(ours) == others(spared) && answers_agree(case, ours, theirs)
}

/// Sardana: one answer for all invalid bodies, and for those that dranspose accepts but cannot pass on.
fn answers_agree(case: &Case, ours: &Outcome, theirs: &Outcome) -> bool {
    let both = ours.answers.iter().zip(&theirs.answers);
    let agree = |((ours, theirs), message): ((&u16, &u16), &Message)| match (ours, theirs) {
        (422, 400) => true,
        (422, 200 | 500) => is_taken_there(message),
        (ours, theirs) => ours == theirs,
    };
    ours.answers.len() == theirs.answers.len() && both.zip(&case.messages).all(agree)
}

/// Contrast: a pickle that is not well-formed or of an old protocol is refused, even if Python would read it.
fn spare_what_is_not_read(messages: &mut Vec<Message>) {
    let mut reader = Reader::default();
    // A real detector's message must be read.
    messages.retain(|message| !message.is_damaged || reader.read(message.first()).is_ok());
}

/// LeCroy: dranspose accepts the start of a sequence only directly after a prepare.
fn spare_what_follows_a_prepare(messages: &mut Vec<Message>) {
    let mut prepared = None;
    let mut spared = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        match (Lecroy::read(message.first()), prepared) {
            (Ok(Lecroy::Prepare), before) => {
                spared.extend(before);
                prepared = Some(number);
            }
            (Ok(Lecroy::SequenceStart { .. }), Some(_)) => break,
            (Ok(Lecroy::End), Some(before)) => {
                spared.extend([before, number]);
                prepared = None;
            }
            (_, Some(_)) => spared.push(number),
            (_, None) => {}
        }
    }
    remove(messages, &spared);
}

/// Xspress3: an image in three messages has lost one; dranspose takes the following messages as its rest.
fn spare_broken_images(messages: &mut Vec<Message>) {
    let says_what_it_is = |message: &Message| {
        let begins_as_json = message.first().trim_ascii_start().starts_with(b"{");
        let read = Xspress::read_with_htype(message.first());
        begins_as_json && matches!(read, Ok((_, HasHtype::Yes)))
    };
    let begins_an_image = |message: &Message| {
        message.parts.len() != 3 && matches!(Xspress::read(message.first()), Ok(Xspress::Image { .. }))
    };
    let mut spared = Vec::new();
    let mut at = 0;
    while at < messages.len() {
        let mut next = at + 1;
        if begins_an_image(&messages[at]) {
            let rest = messages[next..].iter().take(2);
            let whole = rest.take_while(|message| !says_what_it_is(message)).count();
            next += whole;
            if whole < 2 && next < messages.len() {
                spared.extend(at..next);
            }
        }
        at = next;
    }
    remove(messages, &spared);
}

/// Sardana: bodies that dranspose accepts, but mostly fails on when it rewrites them.
fn is_taken_there(message: &Message) -> bool {
    let post = Post::of(message);
    let is_wide = post.body.iter().take(4).any(|byte| *byte == 0);
    let problems = post.problems();
    let is_known = |what: &String| what.contains("nested more than 200 deep") || what.contains("a lone surrogate");
    !problems.is_empty() && (is_wide || problems.iter().any(is_known))
}

fn remove(messages: &mut Vec<Message>, spared: &[usize]) {
    let mut number = 0..;
    messages.retain(|_| number.next().is_none_or(|number| !spared.contains(&number)));
}

/// A case for each difference.
pub(crate) fn examples() -> Vec<Case> {
    let xspress = |name, rest: &[&str]| {
        let header = r#"{"htype": "header", "filename": "/a.h5"}"#;
        Case::of(name, &XSPRESS, [header].iter().chain(rest).map(|part| Message::new([*part])))
    };
    let image = r#"{"htype": "image", "frame": 0, "shape": [4], "type": "uint32"}"#;
    let end = r#"{"htype": "series_end"}"#;

    let lecroy = |name, first: &[&str]| {
        let rest = [r#"{"htype": "msg", "what": 1, "frame": 0, "ntriggers": 20, "seqno": 0, "channels": [2]}"#];
        let rest = rest
            .iter()
            .chain(&[r#"{"htype": "msg", "what": 2, "frame": 0}"#, r#"{"what": 3, "frame": 1, "frames": 1}"#]);
        Case::of(name, &LECROY, first.iter().chain(rest).map(|part| Message::new([*part])))
    };
    let prepare = r#"{"htype": "msg", "what": 0, "frame": 0}"#;

    let contrast = |name, odd: &[u8]| {
        let scan = |status: &str| {
            let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
            let scan = ["status", status, "path", "/data", "description", "mesh"].map(text).concat();
            [b"\x80\x02}(", &scan[..], &text("scannr"), b"K\x02u."].concat()
        };
        let odd = Message { is_damaged: true, ..Message::new([odd]) };
        Case::of(name, &CONTRAST, [Message::new([scan("started")]), odd, Message::new([scan("finished")])])
    };
    let sardana = |name, body: &[u8]| {
        let description = post("data_desc", r#"{"serialno": 1, "scandir": "/data", "title": "ascan"}"#);
        Case::of(name, &SARDANA, [description, post("record_data", body), post("record_end", "{}")])
    };
    let nested = |levels: usize| format!(r#"{{"timestamp": 1, "x": {}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let digits = format!(r#"{{"timestamp": 1, "x": {}}}"#, "1".repeat(4301));
    let utf16: Vec<u8> = r#"{"timestamp": 1}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();

    vec![
        xspress("the metadata of an image is lost", &[image, "array", image, "array", "metadata", end]),
        xspress("the array and the metadata of an image are lost", &[image, image, "array", "metadata", end]),
        xspress("the end comes instead of an array", &[image, end]),
        lecroy("two prepares", &[prepare, prepare]),
        lecroy("junk between prepare and start", &[prepare, "junk"]),
        lecroy("stale traces between prepare and start", &[prepare, r#"{"htype": "msg", "what": 2, "frame": 9}"#]),
        sardana("a record that is nested 202 deep", nested(201).as_bytes()),
        sardana("a record that is nested so deep that it is not written", nested(300).as_bytes()),
        sardana("a record that is nested so deep that it is not read", nested(20_000).as_bytes()),
        sardana("a record with a lone surrogate", br#"{"timestamp": 1, "x": "\ud800"}"#),
        sardana("a record with a name that is a lone surrogate", br#"{"timestamp": 1, "\ud800": 1}"#),
        sardana("a number of too many digits", digits.as_bytes()),
        sardana("a record that is no UTF-8", b"{\"timestamp\": 1, \"x\": \"\xff\"}"),
        sardana("a record in UTF-16", &utf16),
        contrast("a pickle of protocol 0", b"(dp0\nVstatus\np1\nVrunning\np2\nsVdt\np3\nF1.0\ns."),
    ]
}
