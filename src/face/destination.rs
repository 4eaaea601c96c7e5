//! What a job can be published to.

use super::route::Route;
use crate::routing::{KeyError, RoutingKey};

/// What a job can be published to: a routing key (`&str`, `&String`, [`RoutingKey`]) or a [`&Route`](Route).
pub trait Destination<'k>: sealed::Sealed + Copy {
    /// The key or the route, as it was given.
    #[doc(hidden)]
    fn stated(self) -> Stated<'k>;
}

/// A destination as it was given.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Stated<'k> {
    Text(&'k str),
    Checked(Address<'k>),
}

impl<'k> Stated<'k> {
    /// The key, which is not checked, or the route's.
    pub(super) fn text(self) -> &'k str {
        match self {
            Stated::Text(text) => text,
            Stated::Checked(Address::Key(key)) => key.as_str(),
            Stated::Checked(Address::Route(route)) => route.key().as_str(),
        }
    }

    /// The key, checked, or the route.
    ///
    /// # Errors
    /// When it is no routing key.
    pub(super) fn check(self) -> Result<Address<'k>, KeyError> {
        match self {
            Stated::Text(text) => RoutingKey::new(text).map(Address::Key),
            Stated::Checked(address) => Ok(address),
        }
    }
}

/// A destination that was checked.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Address<'k> {
    Key(RoutingKey<'k>),
    Route(&'k Route),
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for &str {}
impl sealed::Sealed for &String {}
impl sealed::Sealed for RoutingKey<'_> {}
impl sealed::Sealed for &Route {}
impl sealed::Sealed for Address<'_> {}

impl<'k> Destination<'k> for &'k str {
    #[inline]
    fn stated(self) -> Stated<'k> {
        Stated::Text(self)
    }
}

impl<'k> Destination<'k> for &'k String {
    #[inline]
    fn stated(self) -> Stated<'k> {
        Stated::Text(self)
    }
}

impl<'k> Destination<'k> for RoutingKey<'k> {
    #[inline]
    fn stated(self) -> Stated<'k> {
        Stated::Checked(Address::Key(self))
    }
}

impl<'k> Destination<'k> for &'k Route {
    #[inline]
    fn stated(self) -> Stated<'k> {
        Stated::Checked(Address::Route(self))
    }
}

impl<'k> Destination<'k> for Address<'k> {
    #[inline]
    fn stated(self) -> Stated<'k> {
        Stated::Checked(self)
    }
}
