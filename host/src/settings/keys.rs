//! What is known of each key of a configuration. Each key stands in one place: a line of a `settings!` list.
//!
//! From that line come the field of the type, its default and its documentation, the parsing, the hint for a key in the
//! wrong table, the variables in the help, the example file (`example`), the reference page, and what needs a restart.

use super::given::{self, Given};

/// A key of the configuration, as its users know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Its documentation: lines as in a doc comment; the first sentence can stand alone.
    pub(crate) about: &'static [&'static str],
    /// The default, as it is written in the file.
    pub(crate) default: Option<&'static str>,
    /// What holds without it, if there is no such value.
    pub(crate) otherwise: &'static str,
    /// A value for the example file, if it is not the default.
    pub(crate) example: Option<&'static str>,
    /// Environment variables that override it; the first one that is set counts.
    pub(crate) variables: &'static [&'static str],
    /// The option of `framegate run` that overrides it.
    pub(crate) flag: Option<&'static str>,
    /// When a changed value takes effect.
    pub(crate) takes_effect: TakesEffect,
}

/// When a value that is changed in the file of a running host takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakesEffect {
    /// After a restart.
    Restart,
    /// With the next scan.
    NextScan,
    /// When a source is loaded the next time.
    NextSwap,
}

/// Describes a key; the `settings!` list adds its documentation.
pub(super) const fn key(name: &'static str) -> Key {
    Key {
        name,
        about: &[],
        default: None,
        otherwise: "",
        example: None,
        variables: &[],
        flag: None,
        takes_effect: TakesEffect::Restart,
    }
}

impl Key {
    pub(super) const fn about(self, about: &'static [&'static str]) -> Self {
        Self { about, ..self }
    }

    /// Its default, as a TOML value.
    pub(super) const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// What holds without it.
    pub(super) const fn otherwise(self, otherwise: &'static str) -> Self {
        Self { otherwise, ..self }
    }

    /// A value for the example file, in TOML.
    pub(super) const fn example(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }

    pub(super) const fn variables(self, variables: &'static [&'static str]) -> Self {
        Self { variables, ..self }
    }

    pub(super) const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    pub(super) const fn takes_effect(self, takes_effect: TakesEffect) -> Self {
        Self { takes_effect, ..self }
    }

    /// Its documentation in one line.
    pub(crate) fn text(&self) -> String {
        self.about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// The value of a field without its key.
    pub(super) fn value<T: Default>(&self, read: impl FnOnce(&Given) -> Result<T, String>) -> T {
        let Some(default) = self.default else { return T::default() };
        let table = given::parse(&format!("{} = {default}", self.name), None).expect("a default is valid TOML");
        let value = table.get(self.name).expect("the text has one key");
        read(value).expect("a default is allowed")
    }
}

/// A type whose fields have keys.
pub(crate) trait Keyed {
    /// The keys that have another value in `new`, which takes effect after a restart.
    fn changed(&self, new: &Self) -> Vec<&'static str>;
}

/// Declares a type, and the keys of its table in the file.
///
/// First the fields that have no key of their own, then the keys: `key(…) => documentation, field: type, reader, default …;`,
/// or `key(…).about(…);` for a key that is read by hand. Instead of `default`, a TOML value, `otherwise` says what holds
/// without the key. The type gets `defaults(…)`, `read(…)` for its keys with fields, and `changed(…)`.
macro_rules! settings {
    (
        $(#[$of_type:meta])*
        pub struct $name:ident { $( $(#[$of_plain:meta])* pub $plain:ident: $plain_type:ty, )* }
        keys {
            $(
                $key:expr $(=>
                    $(#[doc = $about:literal])*
                    $field:ident: $type:ty, $read:expr $(, default $default:literal)? $(, otherwise $otherwise:literal)?
                )?;
            )*
        }
    ) => {
        $(#[$of_type])*
        #[non_exhaustive]
        pub struct $name {
            $( $(#[$of_plain])* pub $plain: $plain_type, )*
            $( $(
                $(#[doc = $about])*
                $(#[doc = concat!("\n\nDefault: `", $default, "`.")])?
                $(#[doc = concat!("\n\nDefault: ", $otherwise, ".")])?
                pub $field: $type,
            )? )*
        }

        pub(super) const KEYS: &[$crate::settings::keys::Key] = &[
            $( $key $( .about(&[$($about),*]) $(.default($default))? $(.otherwise($otherwise))? )?, )*
        ];

        impl $name {
            /// With the defaults of all keys that have a field.
            fn defaults($( $plain: $plain_type, )*) -> Self {
                Self { $( $plain, )* $( $( $field: $key $(.default($default))? .value($read), )? )* }
            }

            /// Reads the keys that have a field.
            pub(in $crate::settings) fn read(
                &mut self,
                table: &$crate::settings::given::Table,
                problems: &mut $crate::settings::problems::Problems,
            ) {
                $( $(
                    if let Some(value) = table.read($key.name, problems, $read) {
                        self.$field = value;
                    }
                )? )*
            }
        }

        impl $crate::settings::keys::Keyed for $name {
            fn changed(&self, new: &Self) -> Vec<&'static str> {
                let mut changed = Vec::new();
                $( $(
                    if $key.takes_effect == $crate::settings::keys::TakesEffect::Restart && self.$field != new.$field {
                        changed.push($key.name);
                    }
                )? )*
                changed
            }
        }
    };
}

pub(super) use settings;
