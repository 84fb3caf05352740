//! Two instances with one ingester's name: the younger one serves, the older steps back.
//!
//! Used on the task that publishes, which reads the key before each write; decides only, and has no clock. So when a
//! restart overlaps, as in a rolling update, the name changes hands once, and the data path does not notice. Otherwise
//! both would overwrite the key in turn for ever, and workers would follow each of them every second.
//!
//! | the key names | we have not written yet | we have written |
//! |---|---|---|
//! | nobody, or us | ours | ours |
//! | an instance from before us | ours (it is older) | ours; logged if it keeps writing |
//! | another instance | ours (it is older) | theirs (it is younger) |

use std::time::{Duration, Instant};

use serde::Deserialize;
use uuid::Uuid;

/// Another instance with our name, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct OtherInstance {
    pub(super) service_uuid: Uuid,
    /// The address for its workers.
    #[serde(default)]
    pub(super) url: String,
}

/// What we know about other instances.
#[derive(Debug)]
pub(super) struct Rival {
    own: Uuid,
    /// Whether our state was written.
    published: bool,
    /// The instance in the key before our first write: it is older.
    before: Option<Uuid>,
    /// The times when the older instance was first and last seen after our first write, because it does not step back.
    insists: Option<(Instant, Instant, OtherInstance)>,
}

impl Rival {
    pub(super) fn new(own: Uuid) -> Self {
        Self { own, published: false, before: None, insists: None }
    }

    /// The younger instance that serves under our name, given the key's current content; `None`: we serve, and may write.
    pub(super) fn look(&mut self, in_key: Option<OtherInstance>, now: Instant) -> Option<OtherInstance> {
        let other = in_key.filter(|instance| instance.service_uuid != self.own)?;
        if !self.published {
            self.before = Some(other.service_uuid);
        } else if self.before != Some(other.service_uuid) {
            return Some(other);
        } else {
            let first = self.insists.take().map_or(now, |(first, ..)| first);
            self.insists = Some((first, now, other));
        }
        None
    }

    /// Records that our state was written.
    pub(super) fn wrote(&mut self) {
        self.published = true;
    }

    /// The older instance, if it keeps publishing. An instance that steps back may still have one write in progress.
    pub(super) fn insists(&mut self, now: Instant) -> Option<&OtherInstance> {
        self.insists.take_if(|(_, last, _)| now.duration_since(*last) > FORGOTTEN);
        let (first, last, instance) = self.insists.as_ref()?;
        (last.duration_since(*first) >= PATIENCE).then_some(instance)
    }
}

/// More than one write interval: each instance writes every 1.3 s.
const PATIENCE: Duration = Duration::from_millis(2000);
/// The expiry of a state.
const FORGOTTEN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(service_uuid: Uuid) -> Option<OtherInstance> {
        Some(OtherInstance { service_uuid, url: "tcp://there:1".into() })
    }

    #[test]
    fn of_two_the_one_that_started_later_serves_until_it_is_gone() {
        let now = Instant::now();
        let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
        let (mut old, mut young) = (Rival::new(first), Rival::new(second));
        assert_eq!(old.look(None, now), None);
        old.wrote();
        assert_eq!(young.look(instance(first), now), None);
        young.wrote();
        assert_eq!(old.look(instance(second), now), instance(second));
        assert_eq!(young.look(instance(second), now), None);
        assert_eq!(old.look(None, now), None);
    }

    #[test]
    fn two_that_start_at_once_do_not_both_step_back() {
        let now = Instant::now();
        let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
        let (mut one, mut other) = (Rival::new(first), Rival::new(second));
        for rival in [&mut one, &mut other] {
            assert_eq!(rival.look(None, now), None);
            rival.wrote();
        }
        // The other instance has written last.
        assert_eq!(one.look(instance(second), now), instance(second));
        assert_eq!(other.look(instance(second), now), None);
    }

    #[test]
    fn an_older_one_that_goes_on_is_told_as_long_as_it_does() {
        let start = Instant::now();
        let at = |seconds: f32| start + Duration::from_secs_f32(seconds);
        let old = Uuid::new_v4();
        let mut young = Rival::new(Uuid::new_v4());
        young.look(instance(old), at(0.0));
        young.wrote();
        for (seconds, told) in [(0.1, false), (1.4, false), (2.7, true), (4.0, true)] {
            assert_eq!(young.look(instance(old), at(seconds)), None);
            assert_eq!(young.insists(at(seconds)).is_some(), told, "{seconds}");
        }
        assert!(young.insists(at(13.0)).is_some() && young.insists(at(15.0)).is_none());
    }
}
