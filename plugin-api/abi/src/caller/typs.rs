//! The types of events, as text that lives for ever: queued events outlive the call that gave them.
//!
//! A type is the name of a protocol, so an instance has few. Each instance has a limit, and each plugin has a limit for
//! its entries in the shared table. So a plugin that puts something else into it (a counter, say) fails, and takes no
//! room from other plugins.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use super::Refused;

/// The types of one instance.
#[derive(Debug)]
pub struct Types {
    /// Address of the plugin's code: the same for all instances of the plugin.
    code: usize,
    /// The last event's type: most streams have only one.
    last: &'static str,
    known: BTreeSet<&'static str>,
}

/// The table that all instances share, so that each type is stored once.
#[derive(Default)]
struct Shared {
    typs: BTreeSet<&'static str>,
    /// Number of types that each plugin has added.
    by: BTreeMap<usize, usize>,
}

static SHARED: Mutex<Shared> = Mutex::new(Shared { typs: BTreeSet::new(), by: BTreeMap::new() });

const LONGEST: usize = 64;
/// Maximum for one instance.
const MOST: usize = 64;
/// Maximum that all instances of one plugin may add. The number of plugins is bounded (`max_generations`), so the table
/// is too.
const MOST_BY_PLUGIN: usize = 1024;

impl Types {
    /// Of an instance of the plugin whose code is at this address.
    #[must_use]
    pub fn new(code: usize) -> Self {
        Self { code, last: "", known: BTreeSet::new() }
    }

    /// The static text that equals `written`.
    ///
    /// # Errors
    /// It is no type, or one too many.
    pub fn known(&mut self, written: &[u8]) -> Result<&'static str, String> {
        self.get(written).map_err(|refused| match refused {
            Refused::Garbage(what) | Refused::TooMuch(what) => what,
        })
    }

    /// As [`Types::known`].
    pub(super) fn get(&mut self, written: &[u8]) -> Result<&'static str, Refused> {
        if written == self.last.as_bytes() && !written.is_empty() {
            return Ok(self.last);
        }
        if written.len() > LONGEST {
            return Err(Refused::Garbage(format!("an event type of {} bytes", written.len())));
        }
        let Ok(text) = std::str::from_utf8(written) else {
            return Err(Refused::Garbage("an event type that is not UTF-8".to_owned()));
        };
        self.last = match self.known.get(text) {
            Some(known) => known,
            None if self.known.len() >= MOST => {
                let what = format!(
                    "the event type {text:?} after {MOST} others, which is the limit; a type is the name of a protocol"
                );
                return Err(Refused::TooMuch(what));
            }
            None => {
                let shared = self.share(text)?;
                self.known.insert(shared);
                shared
            }
        };
        Ok(self.last)
    }

    fn share(&self, text: &str) -> Result<&'static str, Refused> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shared.typs.get(text) {
            return Ok(known);
        }
        let added = shared.by.entry(self.code).or_default();
        if *added >= MOST_BY_PLUGIN {
            let what =
                format!("the event type {text:?} after {MOST_BY_PLUGIN} others in all, which is the limit of a plugin");
            return Err(Refused::TooMuch(what));
        }
        *added += 1;
        let kept: &'static str = Box::leak(text.into());
        shared.typs.insert(kept);
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_and_a_plugin_have_limits_of_their_own_and_take_nothing_from_others() {
        let (one, another) = (1, 2);
        let mut added = 0;
        // A new instance each time.
        for instance in 0.. {
            let mut typs = Types::new(one);
            for number in 0..MOST {
                match typs.get(format!("{instance} {number}").as_bytes()) {
                    Ok(_) => added += 1,
                    Err(Refused::TooMuch(what)) => {
                        assert!(what.contains("limit of a plugin"), "{what}");
                        break;
                    }
                    Err(Refused::Garbage(what)) => panic!("{what}"),
                }
            }
            if added == MOST_BY_PLUGIN && typs.known.is_empty() {
                break;
            }
            let Err(Refused::TooMuch(what)) = typs.get(b"one more") else { panic!("instance {instance} has no limit") };
            assert!(what.contains("after 64 others"), "{what}");
            // The instance can still use the types that it has.
            assert_eq!(typs.get(format!("{instance} 0").as_bytes()).ok(), Some(format!("{instance} 0").as_str()));
        }
        assert_eq!(added, MOST_BY_PLUGIN);
        // Existing types are shared, and other plugins still have room for new ones.
        assert!(Types::new(one).get(b"0 0").is_ok());
        let mut typs = Types::new(another);
        let (old, new) = (typs.get(b"0 0").ok().unwrap(), typs.get(b"new").ok().unwrap());
        assert_eq!((old, new, Types::new(3).get(b"0 0").ok().unwrap().as_ptr()), ("0 0", "new", old.as_ptr()));
    }
}
