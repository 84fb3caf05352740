//! Checks settings that a program built, as `check` does for a file, with the same messages.
//!
//! Pure functions. The types already guarantee the rest: names, addresses and choices cannot be wrong.

use std::{collections::HashSet, fmt, time::Duration};

use super::{
    Control, IngesterSettings, SettingProblem, Settings, SettingsError, StreamSettings,
    feature::{Feature, not_linked},
    read::{HOUR, MILLISECOND, YEAR, absolute, address_of, generations, not_empty, not_none, second_capture, within},
};

impl Settings {
    /// Checks what the types cannot guarantee: limits, times, ports, and duplicate names.
    /// [`HostBuilder::start`](crate::HostBuilder::start) also does this. Settings from a configuration file have already passed.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.validate_for(|_| true)
    }

    /// Checks the same as [`Settings::validate`]; and, if plugin files cannot be loaded, that each source is linked.
    pub(crate) fn validate_for(&self, is_linked: impl Fn(&str) -> bool) -> Result<(), SettingsError> {
        let mut problems = Built::default();
        let top = "settings";
        problems.time(top, "shutdown_grace", self.shutdown_grace, Duration::ZERO, HOUR);
        problems.time(top, "source_timeout", self.source_timeout, MILLISECOND, HOUR);
        problems.check(top, "max_generations", generations(self.max_generations as u64));
        for (key, feature) in self.without_feature() {
            problems.add(top, format_args!("{key}: {}", feature.missing()));
        }
        if let Some(folder) = &self.capture_root {
            problems.check(top, "capture_root", absolute(folder.clone()));
        }
        if let Control::Standalone(standalone) = &self.control {
            problems.check("[standalone]", "min_workers", not_none(standalone.min_workers as u64));
            if let Some(scans) = standalone.scans {
                problems.check("[standalone]", "scans", not_none(scans));
            }
        }
        if self.ingesters.is_empty() {
            problems.add("settings", "there is no ingester");
        }
        for ingester in &self.ingesters {
            problems.ingester(ingester, self);
            let sources = ingester.streams.iter().filter(|stream| !stream.source.is_empty());
            for stream in sources.filter(|stream| !Feature::Plugins.is_there() && !is_linked(&stream.source)) {
                let (found, remedy) = not_linked(&stream.source);
                problems.add(&format!("stream {}", stream.name), format_args!("{found}\n  {remedy}"));
            }
        }
        let problems = problems.problems;
        if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems }) }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Built {
    problems: Vec<SettingProblem>,
    /// Things that may be there once, by the sentence that reports a second one.
    taken: HashSet<String>,
}

impl Built {
    fn add(&mut self, place: &str, problem: impl fmt::Display) {
        self.problems.push(SettingProblem::new(Some(place.to_owned()), problem));
    }

    fn check<T>(&mut self, place: &str, key: &str, value: Result<T, String>) {
        if let Err(why) = value {
            self.add(place, format_args!("{key}: {why}"));
        }
    }

    fn time(&mut self, place: &str, key: &str, time: Duration, least: Duration, most: Duration) {
        let text = humantime::format_duration(time).to_string();
        self.check(place, key, within(time, &text, least, most));
    }

    /// Adds a problem if the thing is there already. `second` is the sentence about that; it must name the thing.
    fn once(&mut self, place: &str, second: String) {
        if self.taken.contains(&second) {
            self.add(place, second);
        } else {
            self.taken.insert(second);
        }
    }

    fn ingester(&mut self, ingester: &IngesterSettings, settings: &Settings) {
        let IngesterSettings { name, host, port, .. } = ingester;
        let place = format!("ingester {name}");
        self.check(&place, "url", address_of(&format!("tcp://{host}:{}", port.max(&1))));
        self.check(&place, "memory_limit", not_empty(ingester.memory_limit));
        self.check(&place, "capture_limit", not_empty(ingester.capture_limit));
        self.time(&place, "worker_timeout", ingester.worker_timeout, MILLISECOND, YEAR);
        if let Some(time) = ingester.stall_timeout {
            self.time(&place, "stall_timeout", time, MILLISECOND, YEAR);
        }
        self.once(&place, format!("a second ingester is named \"{name}\""));
        // 0: any free one.
        if *port != 0 {
            self.once(&place, format!("a second ingester has port {port}\n  give each a `url` of its own"));
            if let Some(admin) = settings.admin.filter(|admin| admin.port() == *port && !settings.admin_search) {
                self.add(&place, format_args!("port {port} is that of `admin` ({admin})"));
            }
        }
        for (key, feature) in ingester.without_feature() {
            self.add(&place, format_args!("{key}: {}", feature.missing()));
        }
        if let Some(dump) = &ingester.dump_path {
            self.once(&place, second_capture(dump));
        }
        if ingester.streams.is_empty() {
            self.add(&place, "it has no stream");
        }
        for StreamSettings { name, source, .. } in &ingester.streams {
            self.once(&place, format!("a second stream is named \"{name}\"\n  names of streams are unique"));
            if source.is_empty() {
                self.add(&format!("stream {name}"), "source: it is empty");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        names::{IngesterName, StreamName},
        settings::Standalone,
    };

    fn ingester(name: &str, port: u16, stream: &str) -> IngesterSettings {
        let stream = StreamSettings::new(StreamName::new(stream).unwrap(), "linked", json!({}));
        IngesterSettings::new(IngesterName::new(name).unwrap(), "localhost", port, vec![stream])
    }

    fn settings(ingesters: Vec<IngesterSettings>) -> Settings {
        Settings::new(Control::Standalone(Standalone::default()), ingesters)
    }

    #[test]
    fn settings_with_defaults_hold() {
        settings(vec![ingester("a", 1, "s"), ingester("b", 0, "t"), ingester("c", 0, "u")]).validate().unwrap();
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let mut wrong = settings(vec![ingester("a", 7, "s"), ingester("a", 7, "s")]);
        wrong.source_timeout = Duration::MAX;
        wrong.max_generations = 0;
        wrong.capture_root = Some("captures".into());
        wrong.control = Control::Standalone(Standalone { min_workers: 0, scans: Some(0), ..Standalone::default() });
        wrong.ingesters[0].memory_limit = 0;
        wrong.ingesters[1].capture_limit = 0;
        wrong.ingesters[1].worker_timeout = Duration::ZERO;
        wrong.ingesters[1].host = "*".to_owned();
        let error = wrong.validate().unwrap_err();
        let told = error.to_string();
        for part in [
            "settings: source_timeout: \"584",
            "is not allowed: 1ms to 1h",
            "settings: max_generations: 0 is not allowed: 1 to 500",
            "settings: capture_root: \"captures\": expected an absolute path",
            "[standalone]: min_workers: 0 is not allowed: at least 1",
            "[standalone]: scans: 0 is not allowed: at least 1",
            "ingester a: memory_limit: at least 1 byte is needed",
            "ingester a: capture_limit: at least 1 byte is needed",
            "ingester a: worker_timeout: \"0s\" is not allowed: 1ms to 365 days",
            "ingester a: url: tcp://*:7: `*` is not a machine to connect to",
            "ingester a: a second ingester is named \"a\"",
            "ingester a: a second ingester has port 7",
            "ingester a: a second stream is named \"s\"",
        ] {
            assert!(told.contains(part), "{part} is not in\n{told}");
        }
        assert_eq!(error.problems().len(), 12, "{told}");
        assert!(settings(Vec::new()).validate().unwrap_err().to_string().contains("there is no ingester"));
    }
}
