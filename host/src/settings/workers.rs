//! The workers that an ingester serves: a list of name patterns, where `*` matches any text.
//!
//! It keeps out accidental connections, and invented names. It is no access control: anybody who can reach the port may
//! use an allowed name, because nothing in the protocol proves it.

use glob::Pattern;

use crate::names::WorkerName;

/// See the module; by default all workers are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedWorkers(Option<Vec<Pattern>>);

impl AllowedWorkers {
    /// Workers whose names match one of these patterns; `*` matches any characters, including none, `?` matches one.
    ///
    /// # Errors
    /// A pattern is invalid, or there are no patterns.
    pub fn named<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, String> {
        let pattern = |text: S| match text.as_ref().trim() {
            "" => Err("a name is empty".to_owned()),
            text => Pattern::new(text).map_err(|why| format!("{text:?} is not a pattern of names: {}", why.msg)),
        };
        match patterns.into_iter().map(pattern).collect::<Result<Vec<_>, _>>()? {
            patterns if patterns.is_empty() => Err("no worker would be allowed".to_owned()),
            patterns if patterns.iter().any(|pattern| pattern.as_str() == "*") => Ok(Self::default()),
            patterns => Ok(Self(Some(patterns))),
        }
    }

    pub(crate) fn allow(&self, name: &WorkerName) -> bool {
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(name.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_whole_and_a_star_is_anything() {
        let allows = |patterns: &[&str], name: &str| {
            AllowedWorkers::named(patterns).unwrap().allow(&WorkerName::new(name).unwrap())
        };
        assert_eq!(AllowedWorkers::named(["w1", "*"]).unwrap(), AllowedWorkers::default());
        assert!(AllowedWorkers::default().allow(&WorkerName::new("anybody").unwrap()));
        for (name, allowed) in
            [("daq-1", true), ("daq-", true), ("daq", false), ("w1", true), ("w10", false), ("xw1", false)]
        {
            assert_eq!(allows(&["daq-*", " w1"], name), allowed, "{name}");
        }
        assert!(allows(&["*/b"], "a/b") && !allows(&["A*"], "ab"));
        for none in [&[][..], &["", "w1"], &["[a"]] {
            AllowedWorkers::named(none).unwrap_err();
        }
    }
}
