//! The features of the crate that settings may need. Settings that need a missing one are refused before anything starts.

use super::{Control, IngesterSettings, Settings};

/// A feature of the crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    Admin,
    Capture,
    Plugins,
    Redis,
}

impl Feature {
    /// Whether this build has it.
    pub(crate) fn is_there(self) -> bool {
        #[cfg(test)]
        if tests::WITHOUT.get() {
            return false;
        }
        match self {
            Self::Admin => cfg!(feature = "admin"),
            Self::Capture => cfg!(feature = "capture"),
            Self::Plugins => cfg!(feature = "plugins"),
            Self::Redis => cfg!(feature = "redis"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Capture => "capture",
            Self::Plugins => "plugins",
            Self::Redis => "redis",
        }
    }

    /// Reports that the feature is missing, and what to do, in two lines.
    pub(crate) fn missing(self) -> String {
        let otherwise = match self {
            Self::Admin | Self::Capture | Self::Plugins => "remove the setting",
            Self::Redis => "use [standalone], in code `Control::Standalone` or `Control::Program`",
        };
        format!("{}\n  {}; or {otherwise}", self.found(), self.remedy())
    }

    /// The first line of [`Feature::missing`].
    fn found(self) -> String {
        format!("this program was built without the feature `{}` of framegate", self.name())
    }

    /// The second line of [`Feature::missing`].
    fn remedy(self) -> String {
        format!("enable the feature in Cargo.toml: framegate = {{ …, features = [\"{}\"] }}", self.name())
    }
}

/// Why a source cannot be found without the feature `plugins`, and what to do.
pub(crate) fn not_linked(source: &str) -> (String, String) {
    let feature = Feature::Plugins;
    let found = format!("source: no source \"{source}\" is linked (`HostBuilder::source`), and {}", feature.found());
    (found, format!("link the source, or {}", feature.remedy()))
}

impl Settings {
    /// The keys of the whole host that need a missing feature.
    pub(super) fn without_feature(&self) -> impl Iterator<Item = (&'static str, Feature)> {
        let needs = [
            (matches!(self.control, Control::Redis(_)), CONTROL, Feature::Redis),
            (self.admin.is_some(), "admin", Feature::Admin),
            (!self.plugin_dirs.is_empty(), "plugin_dirs", Feature::Plugins),
            (self.probe.is_some(), "probe", Feature::Plugins),
        ];
        missing(needs)
    }
}

impl IngesterSettings {
    /// The keys of an ingester that need a missing feature.
    pub(super) fn without_feature(&self) -> impl Iterator<Item = (&'static str, Feature)> {
        missing([(self.dump_path.is_some(), "dump_path", Feature::Capture)])
    }
}

fn missing<const N: usize>(needs: [(bool, &'static str, Feature); N]) -> impl Iterator<Item = (&'static str, Feature)> {
    let needs = needs.into_iter().filter(|(needed, _, feature)| *needed && !feature.is_there());
    needs.map(|(_, key, feature)| (key, feature))
}

/// Not a key of a file.
const CONTROL: &str = "control";

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;

    use super::*;
    use crate::{
        names::{IngesterName, StreamName},
        settings::{RedisSettings, Standalone, StreamSettings},
    };

    thread_local! {
        /// Whether this thread tests a build without features.
        pub(super) static WITHOUT: Cell<bool> = const { Cell::new(false) };
    }

    fn without<T>(test: impl FnOnce() -> T) -> T {
        WITHOUT.set(true);
        let result = test();
        WITHOUT.set(false);
        result
    }

    const REST: &str = "[[ingester.stream]]\nname = 's'\nsource = 'x'";

    #[test]
    fn keys_that_need_a_missing_feature_are_refused_with_all_other_problems_of_a_file() {
        let file = "redis = 'redis://:geheim@h'\nadmin = '127.0.0.1:1'\nplugin_dirs = ['/p']\nprobe = true\n\
                    shutdown_grace = 'soon'\n[[ingester]]\ndump_path = '/c'\n";
        let error = without(|| Settings::from_toml(&format!("{file}{REST}"))).unwrap_err();
        let expected = [
            "line 1: redis: this program was built without the feature `redis` of framegate\n  enable",
            "line 2: admin: this program was built without the feature `admin` of framegate\n  enable",
            "line 3: plugin_dirs: this program was built without the feature `plugins` of framegate\n  enable",
            "line 4: probe: this program was built without the feature `plugins` of framegate\n  enable",
            "line 5: shutdown_grace: \"soon\" is not a time",
            "line 7: dump_path: this program was built without the feature `capture` of framegate\n  enable",
        ];
        assert_eq!(error.problems().len(), expected.len(), "{error}");
        for (problem, start) in error.problems().iter().zip(expected) {
            let text = problem.to_string();
            assert!(text.starts_with(start) && !text.contains("geheim"), "{text}");
        }
    }

    #[test]
    fn values_that_ask_for_nothing_need_no_feature() {
        let file = "admin = 'off'\nplugin_dirs = []\nprobe = false\n[standalone]\n[[ingester]]\n";
        let settings = without(|| Settings::from_toml(&format!("{file}{REST}"))).unwrap();
        without(|| settings.validate()).unwrap();
        // The program may replace the default, control through Redis, by its own.
        let mut settings = without(|| Settings::from_toml(&format!("[[ingester]]\n{REST}"))).unwrap();
        assert!(without(|| settings.validate()).is_err());
        settings.control = Control::Program;
        without(|| settings.validate()).unwrap();
    }

    #[test]
    fn settings_in_code_that_need_a_missing_feature_are_refused_with_all_other_problems() {
        let stream = |name: &str, source: &str| StreamSettings::new(StreamName::new(name).unwrap(), source, json!({}));
        let streams = vec![stream("s", "linked"), stream("t", "stins")];
        let mut ingester = IngesterSettings::new(IngesterName::new("e").unwrap(), "localhost", 0, streams);
        ingester.dump_path = Some("/c".into());
        ingester.memory_limit = 0;
        let mut settings = Settings::new(Control::Redis(RedisSettings::new("redis://h")), vec![ingester]);
        settings.admin = Some(([127, 0, 0, 1], 0).into());
        settings.probe = Some("framegate".into());
        let error = without(|| settings.validate_for(|source| source == "linked")).unwrap_err();
        let built_without = "this program was built without the feature";
        let expected = [
            format!("settings: control: {built_without} `redis` of framegate\n  enable the feature in Cargo.toml"),
            format!("settings: admin: {built_without} `admin`"),
            format!("settings: probe: {built_without} `plugins`"),
            "ingester e: memory_limit: at least 1 byte".to_owned(),
            format!("ingester e: dump_path: {built_without} `capture`"),
            "stream t: source: no source \"stins\" is linked (`HostBuilder::source`), and this program".to_owned(),
        ];
        assert_eq!(error.problems().len(), expected.len(), "{error}");
        for (problem, start) in error.problems().iter().zip(expected) {
            assert!(problem.to_string().starts_with(&start), "{problem}");
        }
        settings.control = Control::Standalone(Standalone::default());
        assert_eq!(without(|| settings.validate()).unwrap_err().problems().len(), 4);
    }
}
