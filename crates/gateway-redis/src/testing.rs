//! A node for tests: one table in memory. The same serves the tests beside the code and those outside of it.

#![allow(dead_code)] // each of those that use it needs a part of it

use crate::hub::Alone;
use crate::run::kind_name;
use crate::{Admission, Config, Entrance, Gateway, Peer, Standing, Table, TableKind, Tables};

include!("../tests/support/node.rs");
