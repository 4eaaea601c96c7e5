//! What a job can be published to.

use super::route::Route;
use crate::routing::{KeyError, RoutingKey};

/// What a job can be published to: a routing key (`&str`, `&String`, [`RoutingKey`]) or a [`&Route`](Route).
pub trait Destination<'k>: sealed::Sealed {
    /// The key, checked, or the route.
    ///
    /// # Errors
    /// When it is no routing key.
    #[doc(hidden)]
    fn address(self) -> Result<Address<'k>, KeyError>;
}

/// A destination that was checked.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Address<'k> {
    Key(RoutingKey<'k>),
    Route(&'k Route),
}

impl Address<'_> {
    /// The key.
    pub(super) fn key(&self) -> RoutingKey<'_> {
        match self {
            Address::Key(key) => *key,
            Address::Route(route) => route.key(),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for &str {}
impl sealed::Sealed for &String {}
impl sealed::Sealed for RoutingKey<'_> {}
impl sealed::Sealed for &Route {}

impl<'k> Destination<'k> for &'k str {
    #[inline]
    fn address(self) -> Result<Address<'k>, KeyError> {
        RoutingKey::new(self).map(Address::Key)
    }
}

impl<'k> Destination<'k> for &'k String {
    #[inline]
    fn address(self) -> Result<Address<'k>, KeyError> {
        self.as_str().address()
    }
}

impl<'k> Destination<'k> for RoutingKey<'k> {
    #[inline]
    fn address(self) -> Result<Address<'k>, KeyError> {
        Ok(Address::Key(self))
    }
}

impl<'k> Destination<'k> for &'k Route {
    #[inline]
    fn address(self) -> Result<Address<'k>, KeyError> {
        Ok(Address::Route(self))
    }
}
