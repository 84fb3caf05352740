//! The integer codes that cross the boundary, and the enums they stand for: one table each.
//!
//! Enums never cross as such: an integer that is no variant would be undefined behaviour, a code that is none is an error.

macro_rules! codes {
    ($($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal,)* })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code that crosses the boundary.
            #[must_use]
            pub const fn code(self) -> i32 {
                match self { $(Self::$variant => $code,)* }
            }

            /// What a code stands for.
            #[must_use]
            pub const fn from_code(code: i32) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    )*};
}

codes! {
    /// How a call ended.
    Outcome {
        /// As it should.
        Done = 0,
        /// With an error, which stands in the error buffer.
        Failed = 1,
        /// With a panic, whose message stands in the error buffer. The instance is poisoned.
        Panicked = 2,
        /// Not called: the instance is poisoned.
        Poisoned = 3,
    }

    /// What `next` answers.
    Progress {
        /// There may be more at once: call again.
        More = 1,
        /// The deadline is reached, or the stop token rang; nothing is waiting.
        Idle = 2,
        /// The run's last event was given. Later calls read and count what still arrives, and give none.
        End = 3,
    }

    /// Whose fault a [`SourceError`](crate::error::SourceError) is.
    ErrorKind {
        /// The person who configured the stream: a setting or parameter is wrong.
        Settings = 1,
        /// The network or the machine: an address cannot be used, a connection broke for good.
        Connect = 2,
        /// The detector: it sent what its protocol does not allow, and the run cannot go on.
        Protocol = 3,
        /// The plugin itself.
        Internal = 4,
    }

    /// Where an event stands in its run.
    EventKind {
        /// The detector's header: control without Redis sends it to every worker.
        Start = 1,
        /// Ordinary data.
        Data = 2,
        /// The detector's end message: control without Redis sends it to every worker.
        End = 3,
    }

    /// How much a log line matters.
    LogLevel {
        /// Something is broken.
        Error = 1,
        /// Something is odd, and was dealt with.
        Warn = 2,
        /// A change of state, for the operator.
        Info = 3,
        /// For developers.
        Debug = 4,
    }
}
