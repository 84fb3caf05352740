//! Class names and variables for users of dranspose's Python ingesters, as data.
//!
//! Facts from dranspose 0.2.0 (`dranspose/ingesters/__init__.py`, `ingester.py`, `distributed.py`). The host names no
//! detector protocol elsewhere; a new class is a new line here.

use crate::{names::PluginReference, near::near};

/// A class of dranspose, and the corresponding plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Class {
    /// Its name in Python.
    pub name: &'static str,
    /// Its module inside `dranspose.ingesters`.
    pub module: &'static str,
    /// The name of the plugin.
    pub plugin: &'static str,
    /// The way it gets its data.
    pub feed: Feed,
}

/// The way a class gets its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// It connects to `upstream_url`.
    Connects,
    /// It listens for HTTP requests (`dranspose http_ingester`).
    Listens,
}

/// Every class of dranspose 0.2.0.
pub const CLASSES: [Class; 9] = [
    class("ZmqPullSingleIngester", "zmqpull_single", "stins", Feed::Connects),
    class("ZmqPullEigerLegacyIngester", "zmqpull_eiger_legacy", "eiger-legacy", Feed::Connects),
    class("ZmqSubContrastIngester", "zmqsub_contrast", "contrast", Feed::Connects),
    class("ZmqSubXspressIngester", "zmqsub_xspress3", "xspress", Feed::Connects),
    class("ZmqSubAlbaemIngester", "zmqsub_albaem", "albaem", Feed::Connects),
    class("ZmqSubPCAPIngester", "zmqsub_pcap", "pcap", Feed::Connects),
    class("ZmqSubLecroyIngester", "zmqsub_lecroy", "lecroy", Feed::Connects),
    class("TcpPcapIngester", "tcp_positioncap", "pcap-raw", Feed::Connects),
    class("HttpSardanaIngester", "http_sardana", "sardana", Feed::Listens),
];

const fn class(name: &'static str, module: &'static str, plugin: &'static str, feed: Feed) -> Class {
    Class { name, module, plugin, feed }
}

/// The source in the example file.
pub(super) const EXAMPLE: &str = r#""stins""#;

impl Class {
    /// Its name on dranspose's command lines.
    #[must_use]
    pub fn spelled(&self) -> String {
        match self.feed {
            Feed::Connects => self.name.to_owned(),
            Feed::Listens => format!("dranspose.ingesters.{}:app", self.module),
        }
    }
}

/// The meaning of a name given as class, plugin or file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The class of dranspose, if it is one.
    pub class: Option<Class>,
    /// The plugin's name or path, or the name of a linked source; with the pin of its content, if given.
    pub plugin: String,
}

impl Source {
    /// Parses `Class`, `module:Class`, `module:app` of an HTTP class, a plugin's name, or a path; each may end with
    /// `#sha256:HEX`.
    ///
    /// # Errors
    /// The known classes, for a text that can be none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let reference = PluginReference::parse(text);
        let what = reference.what;
        let plugin = || Ok(Self { class: None, plugin: text.to_owned() });
        if what.is_empty() {
            return Err(format!("it is empty\n  {}", known()));
        }
        if reference.is_path() {
            return plugin();
        }
        let class = match what.rsplit_once([':', '.']) {
            Some((module, name)) => of_module(module, name)?,
            None => match CLASSES.iter().find(|class| class.name == what) {
                Some(class) => *class,
                // Plugins are named like crates; Python's classes begin with a capital letter.
                None if what.starts_with(|first: char| first.is_uppercase()) => return Err(unknown(what)),
                None => return plugin(),
            },
        };
        Ok(Self { class: Some(class), plugin: PluginReference { what: class.plugin, ..reference }.to_string() })
    }
}

/// dranspose's class, or app of an HTTP class, with this name in this module.
fn of_module(module: &str, name: &str) -> Result<Class, String> {
    let is_it = |class: &&Class| match module.strip_prefix("dranspose.ingesters") {
        Some("") => class.name == name,
        Some(module) if module == format!(".{}", class.module) => {
            class.name == name || (name == "app" && class.feed == Feed::Listens)
        }
        _ => false,
    };
    match CLASSES.iter().find(is_it) {
        Some(class) => Ok(*class),
        None if module.starts_with("dranspose.") => Err(unknown(name)),
        None => Err(format!(
            "a Python class of your own cannot run here: write a source plugin for it, or use its base class\n  {}",
            known()
        )),
    }
}

fn unknown(name: &str) -> String {
    let near = near(name, CLASSES.iter().map(|class| class.name));
    let meant = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
    format!("no such class{meant}\n  {}", known())
}

/// The known classes, as a sentence.
fn known() -> String {
    let classes: Vec<_> = CLASSES.iter().map(|class| class.name).collect();
    format!("known: {}, a plugin's name, or a path to a plugin's file", classes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_known_with_and_without_its_module() {
        for text in [
            "ZmqPullSingleIngester",
            "dranspose.ingesters:ZmqPullSingleIngester",
            "dranspose.ingesters.zmqpull_single:ZmqPullSingleIngester",
            "dranspose.ingesters.zmqpull_single.ZmqPullSingleIngester",
        ] {
            assert_eq!(Source::parse(text).unwrap().plugin, "stins", "{text}");
        }
        assert_eq!(Source::parse("dranspose.ingesters.http_sardana:app").unwrap().plugin, "sardana");
        assert_eq!(Source::parse("TcpPcapIngester#sha256:00ff").unwrap().plugin, "pcap-raw#sha256:00ff");
    }

    #[test]
    fn plugins_are_taken_by_name_and_by_path() {
        for text in [
            "stins",
            "my-source",
            "./libx.so",
            "/opt/plugins/libx.so",
            "libx.so",
            "/a:b/x",
            "x#sha256:0",
            "x.so#sha256:0",
        ] {
            assert_eq!(Source::parse(text), Ok(Source { class: None, plugin: text.to_owned() }));
        }
    }

    #[test]
    fn an_unknown_class_is_told_with_those_that_are_known() {
        let told = Source::parse("ZmqPullSingelIngester").unwrap_err();
        assert!(told.contains("did you mean ZmqPullSingleIngester?"), "{told}");
        assert!(told.contains("TcpPcapIngester"), "{told}");
        for text in ["dranspose.ingesters.zmqsub_pcap:ZmqPullSingleIngester", "dranspose.ingesters.zmqsub_pcap:app"] {
            assert!(Source::parse(text).unwrap_err().contains("no such class"), "{text}");
        }
        assert!(Source::parse("src.mine:Ingester").unwrap_err().contains("of your own"));
        assert!(Source::parse("").is_err());
    }
}
