//! count.
