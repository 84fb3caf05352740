//! The integer codes that cross the boundary, and their enums: one table each.
//!
//! Enums never cross as such: an integer without a variant would be undefined behaviour; an unknown code is only an error.

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

            /// The variant of a code.
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
        /// Success.
        Done = 0,
        /// An error; the error buffer contains it.
        Failed = 1,
        /// A panic; the error buffer contains its message. The instance is poisoned.
        Panicked = 2,
        /// Not called: the instance is poisoned.
        Poisoned = 3,
    }

    /// What `next` answers.
    Progress {
        /// There may be more immediately: call again. If in doubt, this.
        More = 1,
        /// Nothing is waiting: these events are all that have come, or the deadline is reached, or a stop was requested. The host
        /// forwards such events on the thread of the call, without the cost of waking another one, and calls again.
        Idle = 2,
        /// The run's last event was delivered. Later calls read and count further messages, and deliver no events.
        End = 3,
    }

    /// Whose fault a [`SourceError`](crate::error::SourceError) is.
    ErrorKind {
        /// The person who configured the stream: a setting or parameter is wrong.
        Settings = 1,
        /// The network or the machine: an address cannot be used, a connection broke for good.
        Connect = 2,
        /// The detector: it sent what its protocol does not allow, and the run cannot continue.
        Protocol = 3,
        /// The plugin itself.
        Internal = 4,
    }

    /// The position of an event in its run.
    EventKind {
        /// The detector's header: without a controller it is sent to every worker.
        Start = 1,
        /// Ordinary data.
        Data = 2,
        /// The detector's end message: without a controller it is sent to every worker.
        End = 3,
    }

    /// Whether a detector is connected to a run.
    Connected {
        /// The source cannot tell (datagrams, requests that come one by one).
        Unknown = 0,
        /// No detector is connected; the source waits for one or keeps connecting.
        No = 1,
        /// A detector is connected.
        Yes = 2,
    }

    /// The severity of a log line.
    LogLevel {
        /// Something is broken.
        Error = 1,
        /// Something is unusual, and was handled.
        Warn = 2,
        /// A change of state, for the operator.
        Info = 3,
        /// For developers.
        Debug = 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! check {
        ($($name:ident)*) => {$(
            for &variant in $name::ALL {
                assert_eq!($name::from_code(variant.code()), Some(variant));
            }
            for code in [i32::MIN, -1, 99, i32::MAX] {
                assert_eq!($name::from_code(code), None);
            }
        )*};
    }

    #[test]
    fn every_code_comes_back_as_what_it_was_and_no_other_code_is_taken() {
        check!(Outcome Progress ErrorKind EventKind Connected LogLevel);
    }
}
