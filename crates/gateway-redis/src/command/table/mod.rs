//! The rows, a file per group.

mod althing;
mod bits;
mod clusters;
mod connections;
mod generic;
mod geo;
mod hashes;
mod pubsub;
mod servers;
mod sets;
mod sketches;
mod sorted;
mod strings;
mod transactions;

use super::Action::{Composed, Container, Exec, Keyed, Session, Waiting, Watch};
use super::Flag::{
    Admin, Blocking, Denyoom, Fast, Loading, Movablekeys, NoAuth, NoMulti, Noscript, Pubsub, Readonly, Stale, Write,
};
use super::Merges::{
    AddWins, AsItSays, Claims, Conditional, Counts, EachKey, LastWriter, LaterDeadline, Nothing, PerField,
    ReadModifyWrite, Reads, ReadsThenWrites, RemovesSeen, StrongOnly, Union,
};
use super::keys::{ALL, Keys, ONE, TWO};
use super::{Command, Flag, Group};

/// Flags that many rows have.
const R: &[Flag] = &[Readonly];
const RF: &[Flag] = &[Readonly, Fast];
const W: &[Flag] = &[Write];
const WF: &[Flag] = &[Write, Fast];
const WD: &[Flag] = &[Write, Denyoom];
const WDF: &[Flag] = &[Write, Denyoom, Fast];
/// The key after a subcommand's name.
const THIRD: Keys = Keys::Range { first: 2, last: 2, step: 1 };

/// All rows.
pub const TABLES: [&[Command]; 14] = [
    generic::ROWS,
    strings::ROWS,
    bits::ROWS,
    hashes::ROWS,
    sets::ROWS,
    sorted::ROWS,
    geo::ROWS,
    sketches::ROWS,
    pubsub::ROWS,
    transactions::ROWS,
    connections::ROWS,
    servers::ROWS,
    clusters::ROWS,
    althing::ROWS,
];
