//! Dot stores: the shapes that hold dots (Almeida, Shoker, Baquero 2018, §7.2). All causal types are made of these three.
//!
//! | store | is | join keeps, of what one side shows |
//! |---|---|---|
//! | [`DotSet`] | a set of dots | dots of both, and those that the other's context lacks |
//! | [`DotFun`] | dot → value | the same, the values of shared dots merged |
//! | [`DotMap`] | key → store | the keys whose store is not empty after the same within |

pub mod dot_fun;
pub mod dot_map;
pub mod dot_set;

pub use dot_fun::DotFun;
pub use dot_map::DotMap;
pub use dot_set::DotSet;
