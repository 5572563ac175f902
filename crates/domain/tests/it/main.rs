//! The integration tests of the domain, in one binary.

// The attribute tells clippy that the helpers in here are tests, too.
#[cfg(test)]
mod address;
#[cfg(test)]
mod delivery_page;
#[cfg(test)]
mod endpoint_url;
