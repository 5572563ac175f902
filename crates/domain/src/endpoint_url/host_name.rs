//! The rules about names as hosts: which of them can never be a public receiver.
//!
//! A name that passes may still resolve to anything: its addresses are vetted before every connection. `.test`,
//! `.invalid` and `.example` pass, for they resolve nowhere and serve trials.

use super::UrlError;

/// The longest name without its trailing dot, in bytes (RFC 1035, section 2.3.4).
pub(super) const NAME_BYTES_MAX: usize = 253;

/// The longest label of a name, in bytes (RFC 1035, section 2.3.4).
pub(super) const LABEL_BYTES_MAX: usize = 63;

/// Last labels of the machine itself (RFC 6761, and the domain that many systems give it).
const LOCALHOST_DOMAINS: &[&str] = &["localhost", "localdomain"];

/// Domains of inner networks: RFC 6762, ICANN's reservation of 2024, RFC 8375.
const PRIVATE_DOMAINS: &[&str] = &["local", "internal", "home.arpa"];

/// Judges a name as the URL parser gives it: lowercase, in ASCII, international labels as `xn--`.
///
/// # Errors
/// The first rule that refuses the name.
pub(super) fn judge(name: &str) -> Result<(), UrlError> {
    if name.contains('*') {
        return Err(UrlError::WildcardHost);
    }
    // Before the trailing dot, because "localhost." deserves the advice for localhost.
    let undotted = name.strip_suffix('.').unwrap_or(name);
    if LOCALHOST_DOMAINS.iter().any(|domain| is_within(undotted, domain)) {
        return Err(UrlError::Localhost);
    }
    if undotted != name {
        return Err(UrlError::TrailingDot);
    }
    if let Some(domain) = PRIVATE_DOMAINS.iter().find(|domain| is_within(name, domain)) {
        return Err(UrlError::PrivateDomain(domain));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(UrlError::HostTooLong);
    }
    name.split('.').try_for_each(judge_label)?;
    match name.contains('.') {
        true => Ok(()),
        false => Err(UrlError::SingleLabel),
    }
}

/// Judges one label by what a certificate can name (RFC 5280), with the underscore that receivers use in practice.
fn judge_label(label: &str) -> Result<(), UrlError> {
    if label.is_empty() || label.len() > LABEL_BYTES_MAX {
        return Err(UrlError::LabelLength);
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match label.bytes().all(known) && !label.starts_with('-') && !label.ends_with('-') {
        true => Ok(()),
        false => Err(UrlError::HostCharacters),
    }
}

/// Whether a name is the domain or one of its subdomains.
fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
