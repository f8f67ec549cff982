//! What a venue's own words for an error mean.

use crate::error::VenueError;

/// An error in a venue's own words, of which some have remedies.
pub trait VenueFault: Clone {
    /// The error once every remedy has been tried.
    fn into_error(self) -> VenueError;

    /// True when a look at the venue's clock may heal it: an error of the clock, or of a signature that
    /// holds the time.
    fn may_be_the_clock(&self) -> bool;

    /// The class in one word, for recorded cases.
    fn class(&self) -> &'static str {
        self.clone().into_error().class()
    }

    fn is_retryable(&self) -> bool {
        self.clone().into_error().is_retryable()
    }

    fn reason(&self) -> String {
        self.clone().into_error().to_string()
    }
}
