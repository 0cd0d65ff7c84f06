//! The rules of the repository, as tests. Nothing here is linked into anything.
//!
//! * `arrows`: no crate imports one above it, and some libraries belong to one crate only;
//! * `licences`: every dependency may be used under a licence of the list;
//! * `sources`: what no source file may say, and how long it may be;
//! * `documents`: every direct dependency is explained, and the lists that two tools read agree.
//!
//! Each rule is a function from what is found to what is wrong with it, with a test that it finds what it should and one
//! that the repository keeps it. A message says what to do.

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod licences;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod sources;
