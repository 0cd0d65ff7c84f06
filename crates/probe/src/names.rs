//! An enum whose variants have names, all of which can be listed.

/// Declares an enum with `ALL` and `name`.
macro_rules! named {
    (
        $(#[$outer:meta])*
        pub enum $enum:ident {
            $( $(#[$inner:meta])* $variant:ident = $name:literal, )*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $enum {
            $( $(#[$inner])* $variant, )*
        }

        impl $enum {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$( Self::$variant, )*];

            /// Its name, in lower case and with hyphens.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $name, )*
                }
            }

            /// The one of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|each| each.name() == name)
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use named;
