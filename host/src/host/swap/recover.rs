//! Recovers a stream whose source hangs: loads the same code again, as a swap that the host itself requests.
//!
//! A thread cannot be ended from outside, so the old source stays; the new one is another copy of its plugin, and takes over at the
//! next scan, unless the call has returned by then. Repeated attempts back off: each costs a copy (`max_generations`) and a thread.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{super::make, AskedBy, Swaps};
use crate::{
    names::{PluginReference, StreamName},
    plugin::refusal::{Code, Refusal},
    settings::{Settings, StreamSettings},
    source::{factory::Factory, row::Row},
};

/// The attempts for each stream.
pub(super) type Attempts = BTreeMap<StreamName, Row>;

/// Maximum delay between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

impl Swaps {
    /// Starts another instance for a stream, if none is waiting, and the last attempt is long enough ago.
    pub(super) fn recover(self: &Arc<Self>, stream: &StreamName, attempts: &mut Attempts) {
        let row = attempts.entry(stream.clone()).or_insert_with(|| Row::new(LONGEST_DELAY));
        row.end_if_old();
        if row.left().is_some() {
            return;
        }
        let asked = {
            let mut book = self.book();
            let waits = self.next_source(stream).is_some_and(|next| next.feed().is_some());
            if waits || book.is_making(stream) {
                return;
            }
            let Some(feed) = book.feed(stream.as_str()) else { return };
            let wanted = feed.settings.clone();
            self.asked(&mut book, wanted, AskedBy::Recovery)
        };
        row.count();
        match asked {
            Ok(asked) => self.make_on_thread(asked),
            Err(problem) => {
                tracing::error!(%stream, "cannot replace a source that hangs: {problem}")
            }
        }
    }

    /// Finds the code of the hanging source, even if the file has changed since: a fault must not change the version.
    pub(super) fn find_again(&self, stream: &StreamSettings, settings: &Settings) -> Result<Arc<Factory>, Refusal> {
        let identity = self.book().feed(stream.name.as_str()).map(|feed| feed.factory.identity());
        let mut same = stream.clone();
        if let Some((file, sha256)) = identity.and_then(|identity| Some((identity.file?, identity.sha256?))) {
            same.source = PluginReference { what: &file.to_string_lossy(), pin: Some(&sha256) }.to_string();
        }
        make::find(&same, settings, &self.linked, false).map_err(|refusal| match refusal.code {
            Code::Generations | Code::Writable | Code::File => refusal,
            // With the content that was loaded, the file would be accepted again.
            code => {
                let file = PluginReference::parse(&same.source).what;
                let found = format!(
                    "{file} is not the file any more that was loaded, and only that one may replace a source that hangs"
                );
                let remedy = "put that file back, or take the new one: with SIGHUP (`framegate run`), with `framegate swap` \
                              if there is an admin endpoint, or with a restart";
                Refusal::new(code, found, remedy)
            }
        })
    }
}
