//! Applies a changed configuration: which sources are swapped, and which changes need a restart.
//!
//! A stream is compared with its previous configuration, not with its current source: a swap that was requested in
//! between stays until the stream's configuration changes.

use super::{AskedBy, SwapError, SwapReceipt, Swaps, receipt::SwapState};
use crate::{
    host::make,
    names::StreamName,
    plugin::refusal::Code,
    settings::{Control, IngesterSettings, Settings, StreamSettings, keys::Keyed as _},
};

/// The result of a changed configuration.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reload {
    /// Streams whose configuration or plugin file has changed, with the results of their swaps.
    pub swaps: Vec<(StreamName, Result<SwapReceipt, SwapError>)>,
    /// Other changes, which take effect after a restart; a line each.
    pub needs_restart: Vec<String>,
}

impl Swaps {
    /// Swaps every source whose configuration has changed. Takes at most `source_timeout` for each.
    pub(crate) fn reload(&self, new: &Settings) -> Reload {
        let old = self.settings();
        let needs_restart = needs_restart(&old, new);
        {
            let mut settings = self.settings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            settings.plugin_dirs.clone_from(&new.plugin_dirs);
            settings.allow_writable_plugins = new.allow_writable_plugins;
            settings.probe.clone_from(&new.probe);
            settings.max_generations = new.max_generations;
        }
        let mut swaps = Vec::new();
        for stream in new.ingesters.iter().flat_map(|ingester| &ingester.streams) {
            let Some(before) = find(&old, stream.name.as_str()) else { continue };
            if before == stream && !self.has_new_content(stream) && !self.was_refused(stream) {
                continue;
            }
            let asked = self.asked(&mut self.book(), stream.clone(), AskedBy::Configuration);
            let outcome = asked.and_then(|asked| self.make(&asked));
            if outcome.is_ok() {
                // A refused swap is tried again the next time.
                self.configured(stream);
            }
            swaps.push((stream.name.clone(), outcome));
        }
        Reload { swaps, needs_restart }
    }

    /// Whether a stream has its configured source, but the plugin file has new content.
    fn has_new_content(&self, stream: &StreamSettings) -> bool {
        let waiting = self.next_source(&stream.name).and_then(|next| next.feed());
        let latest = waiting.or_else(|| self.book().feed(stream.name.as_str()).cloned());
        let Some(feed) = latest.filter(|feed| feed.settings == *stream) else { return false };
        let identity = feed.factory.identity();
        match make::identify(stream, &self.settings(), &self.linked) {
            Ok(found) => found.is_some_and(|found| Some(found) != identity.sha256),
            // A running source does not need its file. If the file cannot be read, or changes, the swap refuses it.
            Err(refusal) => refusal.code == Code::File,
        }
    }

    /// Whether the configured source was refused when it should take over, or hung. What the host did by itself, and what
    /// others asked for in vain, changes nothing in that.
    fn was_refused(&self, stream: &StreamSettings) -> bool {
        let book = self.book();
        let is_configured = |receipt: &SwapReceipt| receipt.asked_by == AskedBy::Configuration;
        let last = book.receipts().rfind(|receipt| {
            let counts = is_configured(receipt) || receipt.state != SwapState::Refused;
            receipt.stream == stream.name && receipt.asked_by != AskedBy::Recovery && counts
        });
        let failed = |last: &SwapReceipt| matches!(last.state, SwapState::Refused | SwapState::Superseded);
        last.is_some_and(|last| is_configured(last) && failed(last))
            && book.feed(stream.name.as_str()).is_some_and(|feed| feed.settings != *stream)
    }

    fn configured(&self, stream: &StreamSettings) {
        let mut settings = self.settings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut streams = settings.ingesters.iter_mut().flat_map(|ingester| &mut ingester.streams);
        if let Some(known) = streams.find(|known| known.name == stream.name) {
            known.clone_from(stream);
        }
    }
}

pub(super) fn find<'a>(settings: &'a Settings, stream: &str) -> Option<&'a StreamSettings> {
    settings.ingesters.iter().flat_map(|ingester| &ingester.streams).find(|known| known.name.as_str() == stream)
}

/// Changes that do not concern a source.
fn needs_restart(old: &Settings, new: &Settings) -> Vec<String> {
    let mut keys = old.changed(new);
    match (&old.control, &new.control) {
        (Control::Redis(old), Control::Redis(new)) => {
            keys.extend((old.password != new.password).then_some("redis_password or redis_password_file"));
            keys.extend(old.changed(new));
        }
        (Control::Standalone(old), Control::Standalone(new)) => keys.extend(old.changed(new)),
        (Control::Program, Control::Program) => {}
        _ => keys.push("redis or [standalone]"),
    }
    let mut lines: Vec<_> = keys.into_iter().map(str::to_owned).collect();
    for ingester in &new.ingesters {
        match old.ingesters.iter().find(|known| known.name == ingester.name) {
            None => lines.push(format!("a new ingester, {}", ingester.name)),
            Some(known) => of_ingester(known, ingester, &mut lines),
        }
    }
    let gone = old.ingesters.iter().filter(|known| !new.ingesters.iter().any(|one| one.name == known.name));
    lines.extend(gone.map(|known| format!("ingester {} was removed", known.name)));
    lines
}

fn of_ingester(old: &IngesterSettings, new: &IngesterSettings, lines: &mut Vec<String>) {
    let url = (old.url() != new.url()).then_some("url");
    lines.extend(url.into_iter().chain(old.changed(new)).map(|key| format!("{key} of ingester {}", new.name)));
    let names = |settings: &IngesterSettings| -> Vec<String> {
        settings.streams.iter().map(|stream| stream.name.to_string()).collect()
    };
    if names(old) != names(new) {
        let (old, new_names) = (names(old).join(", "), names(new).join(", "));
        lines.push(format!("the streams of ingester {}: {new_names} instead of {old}", new.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(ingesters: &str) -> Settings {
        Settings::from_toml(&format!("[standalone]\n{ingesters}")).unwrap()
    }

    const ONE: &str = "[[ingester]]\nname = \"i\"\n[[ingester.stream]]\nname = \"a\"\nsource = \"x\"\n";

    #[test]
    fn what_a_source_has_needs_no_restart() {
        let new = format!("{ONE}when_full = \"drop\"\n[ingester.stream.settings]\nkey = 1\n");
        assert_eq!(needs_restart(&settings(ONE), &settings(&new)), [""; 0]);
    }

    #[test]
    fn everything_else_is_told() {
        let two = format!("{ONE}[[ingester.stream]]\nname = \"b\"\nsource = \"x\"\n");
        let told = needs_restart(&settings(ONE), &settings(&two));
        assert_eq!(told, ["the streams of ingester i: a, b instead of a"]);
        let other = ONE.replace("\"i\"", "\"j\"\nmemory_limit = 5");
        assert_eq!(needs_restart(&settings(ONE), &settings(&other)), ["a new ingester, j", "ingester i was removed"]);
        let limits = ONE.replace("\"i\"", "\"i\"\nmemory_limit = 5\nworker_timeout = \"3 s\"");
        let told = needs_restart(&settings(ONE), &settings(&limits));
        assert_eq!(told, ["memory_limit of ingester i", "worker_timeout of ingester i"]);
        let mut new = settings(ONE);
        new.source_timeout *= 2;
        new.admin = Some(([127, 0, 0, 1], 1).into());
        assert_eq!(needs_restart(&settings(ONE), &new), ["source_timeout", "admin"]);
    }

    #[test]
    #[cfg(feature = "redis")]
    fn what_changes_at_redis_is_told() {
        let redis = |keys: &str| Settings::from_toml(&format!("redis = 'rediss://h'\n{keys}\n{ONE}")).unwrap();
        let told = needs_restart(&redis(""), &redis("redis_password = 'x'\nredis_ca = '/c'"));
        assert_eq!(told, ["redis_password or redis_password_file", "redis_ca"]);
        assert_eq!(needs_restart(&redis(""), &settings(ONE))[0], "redis or [standalone]");
    }
}
