//! What users of dranspose's Python ingesters already have: class names and variables, as data.
//!
//! Facts from dranspose 0.2.0 (`dranspose/ingesters/__init__.py`, `ingester.py`, `distributed.py`). The host names no
//! detector protocol elsewhere; a new class is a line here.

use super::near::near;

/// A class of dranspose, and the plugin that does its work here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) name: &'static str,
    /// Inside `dranspose.ingesters`.
    pub(crate) module: &'static str,
    pub(crate) plugin: &'static str,
    pub(crate) feed: Feed,
}

/// How a class gets its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// It connects to `upstream_url`.
    Connects,
    /// It listens for HTTP requests (`dranspose http_ingester`).
    Listens,
}

/// Every class of dranspose 0.2.0.
pub(crate) const CLASSES: [Class; 9] = [
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

impl Class {
    /// As it is written on dranspose's command lines.
    pub(crate) fn spelled(&self) -> String {
        match self.feed {
            Feed::Connects => self.name.to_owned(),
            Feed::Listens => format!("dranspose.ingesters.{}:app", self.module),
        }
    }
}

/// What a name given as class, plugin or file stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A class of dranspose.
    Class(Class),
    /// A plugin's name, the name of a linked source, or a path to a plugin's file.
    Plugin(String),
}

impl Source {
    /// Understands `Class`, `module:Class`, `module:app` of an HTTP class, a plugin's name, a path.
    ///
    /// # Errors
    /// What is known instead, for something that can be neither.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("it is empty\n  {}", known()));
        }
        if is_path(text) {
            return Ok(Self::Plugin(text.to_owned()));
        }
        let (module, name) = match text.rsplit_once([':', '.']) {
            Some((module, name)) => (Some(module), name),
            None => (None, text),
        };
        let Some(module) = module else {
            return match CLASSES.iter().find(|class| class.name == name) {
                Some(class) => Ok(Self::Class(*class)),
                // Plugins are named like crates; classes of Python begin with a capital.
                None if name.starts_with(|first: char| first.is_uppercase()) => Err(unknown(name)),
                None => Ok(Self::Plugin(name.to_owned())),
            };
        };
        let own = |class: &&Class| match module.strip_prefix("dranspose.ingesters") {
            Some("") => class.name == name,
            Some(module) if module == format!(".{}", class.module) => {
                class.name == name || (name == "app" && class.feed == Feed::Listens)
            }
            _ => false,
        };
        CLASSES.iter().find(own).map(|class| Self::Class(*class)).ok_or_else(|| {
            if module.starts_with("dranspose.") {
                unknown(name)
            } else {
                format!(
                    "a Python class of your own cannot run here: write a source plugin for it (plugins/template), or use \
                     its base class\n  {}",
                    known()
                )
            }
        })
    }

    /// The plugin's name or path.
    pub(crate) fn plugin(&self) -> &str {
        match self {
            Self::Class(class) => class.plugin,
            Self::Plugin(plugin) => plugin,
        }
    }
}

/// Whether a text is a path to a file, and no name.
pub(crate) fn is_path(text: &str) -> bool {
    text.contains('/') || text.ends_with(".so") || text.ends_with(".dylib")
}

fn unknown(name: &str) -> String {
    let near = near(name, CLASSES.iter().map(|class| class.name));
    let meant = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
    format!("no such class{meant}\n  {}", known())
}

/// The classes that are known, in a sentence.
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
            assert_eq!(Source::parse(text).unwrap().plugin(), "stins", "{text}");
        }
        assert_eq!(Source::parse("dranspose.ingesters.http_sardana:app").unwrap().plugin(), "sardana");
    }

    #[test]
    fn plugins_are_taken_by_name_and_by_path() {
        for text in ["stins", "my-source", "./libx.so", "/opt/plugins/libx.so", "libx.so", "/a:b/x"] {
            assert_eq!(Source::parse(text), Ok(Source::Plugin(text.to_owned())));
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
