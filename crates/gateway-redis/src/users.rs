//! Who may use the port, where passwords are asked for.
//!
//! Passwords are kept as their BLAKE3 sums, which are compared in constant time; an unknown user's is compared, too, so that an answer
//! takes as long whether there is such a user or not. The sums never leave memory, so they are not made slow to guess.

use std::collections::{BTreeMap, BTreeSet};

use althing_types::TableName;

use crate::tables::{Admission, Entrance, Table};

/// The user that a connection is if it names none: `AUTH password`.
pub const DEFAULT_USER: &str = "default";

/// What a user may reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Every table.
    All,
    /// These.
    Only(BTreeSet<TableName>),
}

struct User {
    sum: blake3::Hash,
    reach: Reach,
}

/// All users.
#[derive(Default)]
pub struct Users(BTreeMap<String, User>);

impl Users {
    /// Adds a user, or gives it another password and reach.
    pub fn add(&mut self, name: &str, password: &[u8], reach: Reach) {
        self.0.insert(name.to_owned(), User { sum: blake3::hash(password), reach });
    }

    /// Nobody is asked for a password as long as there is no user.
    #[must_use]
    pub fn entrance(&self) -> Entrance {
        if self.0.is_empty() { Entrance::Open } else { Entrance::Guarded }
    }

    /// Whether this is the password of `user`.
    #[must_use]
    pub fn authenticate(&self, user: &str, password: &[u8]) -> Admission {
        let sum = blake3::hash(password);
        let known = self.0.get(user);
        // Of an unknown user every password is wrong, the one that this stands for, too.
        let wanted = known.map_or_else(|| blake3::hash(b""), |user| user.sum);
        let is_right = sum == wanted;
        if (is_right && known.is_some()) || self.0.is_empty() { Admission::Admitted } else { Admission::Refused }
    }

    /// Whether `user` may use `table`.
    #[must_use]
    pub fn may_use(&self, user: &str, table: &Table) -> Admission {
        match self.0.get(user).map(|user| &user.reach) {
            Some(Reach::Only(tables)) if !tables.contains(&table.name) => Admission::Refused,
            Some(Reach::Only(_) | Reach::All) => Admission::Admitted,
            None => match self.entrance() {
                Entrance::Open => Admission::Admitted,
                Entrance::Guarded => Admission::Refused,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_its_password_and_reaches_what_it_may() {
        let mut users = Users::default();
        let table = crate::testing::gateway().0.tables.by_index(0).unwrap();
        assert_eq!(users.entrance(), Entrance::Open);
        assert_eq!(users.authenticate("anybody", b"x"), Admission::Admitted);
        assert_eq!(users.may_use(DEFAULT_USER, &table), Admission::Admitted);
        users.add("ann", b"correct horse", Reach::All);
        users.add("bob", b"battery", Reach::Only(BTreeSet::from(["orders".parse().unwrap()])));
        assert_eq!(users.entrance(), Entrance::Guarded);
        assert_eq!(users.authenticate("ann", b"correct horse"), Admission::Admitted);
        for (name, password) in [("ann", &b"battery"[..]), ("ann", b""), ("eve", b""), ("default", b"correct horse")] {
            assert_eq!(users.authenticate(name, password), Admission::Refused, "{name}");
        }
        assert_eq!(users.may_use("ann", &table), Admission::Admitted);
        assert_eq!(users.may_use("bob", &table), Admission::Refused, "it is another table");
        assert_eq!(users.may_use("eve", &table), Admission::Refused);
    }
}
