//! The same plugin, in a file of another name: built with the feature `libzmq`, it can receive through libzmq, too.
#![forbid(unsafe_code)]

use framegate_xspress as _;
