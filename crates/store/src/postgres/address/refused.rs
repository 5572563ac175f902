//! Why there is no connection, in sentences that say what to do. They name host, user and database, never the password.

use super::{Host, Place, PostgresAddress};
use rustls::CertificateError;
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio_postgres::error::{DbError, SqlState};

/// What the library says of a password that it was not given; it has no other mark.
const NO_PASSWORD: &str = "password missing";
/// What it says of a server that answers a request for TLS with no.
const NO_TLS: &str = "server does not support TLS";
/// What the standard library says of a name that the system's resolver does not know.
const NO_SUCH_NAME: &str = "failed to lookup address information";

/// What a host said, or what became of asking it.
pub(super) fn because(address: &PostgresAddress, host: &Host, error: &tokio_postgres::Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return answered(address, host, answer);
    }
    match cause::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            return format!(
                "{host} refused the connection: is PostgreSQL running, and does it listen there?"
            );
        }
        Some(io::ErrorKind::NotFound) if matches!(host.place, Place::Folder(_)) => {
            return format!("there is no socket {host}: is PostgreSQL running, and is this its folder?");
        }
        Some(io::ErrorKind::TimedOut) => return silent(host, address.connect_timeout),
        // The library's own mark of a host that was passed over.
        Some(io::ErrorKind::PermissionDenied) if matches!(host.place, Place::Network(_)) => {
            return format!("{host} takes no writes: it is a standby, or read-only; name the primary");
        }
        _ => {}
    }
    if let Some(rustls::Error::InvalidCertificate(fault)) = tls_fault(error) {
        return format!("the certificate of {host} is not trusted: {}", distrust(fault));
    }
    let whole = unfolded(error);
    if whole.contains(NO_PASSWORD) {
        return format!(
            "{host} asks for a password of the user `{}`: set STENTOR_DATABASE_PASSWORD, or \
             STENTOR_DATABASE_PASSWORD_FILE to a file that holds it",
            address.user
        );
    }
    if whole.contains(NO_TLS) {
        return format!(
            "{host} offers no TLS, and sslmode asks for it: turn ssl on in postgresql.conf; on a network that you trust \
             sslmode=prefer does without"
        );
    }
    if whole.contains(NO_SUCH_NAME) {
        return format!("the name of {host} does not resolve to an address: check it, and the resolver");
    }
    format!("{host} cannot be used: {whole}")
}

/// A host that said nothing at all.
pub(super) fn silent(host: &Host, after: Duration) -> String {
    format!(
        "{host} did not let us in within {after:?}: check the address, the firewall, and whether the server is overloaded"
    )
}

fn answered(address: &PostgresAddress, host: &Host, answer: &DbError) -> String {
    let PostgresAddress { user, database, .. } = address;
    let said = answer.message();
    match *answer.code() {
        SqlState::INVALID_CATALOG_NAME => format!(
            "{host} has no database `{database}`: make it with CREATE DATABASE \"{database}\" OWNER \"{user}\""
        ),
        SqlState::INVALID_PASSWORD => format!(
            "{host} refused the password of the user `{user}`: check STENTOR_DATABASE_PASSWORD, and that the user exists"
        ),
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => format!(
            "{host} does not let the user `{user}` into the database `{database}`: {said}; see pg_hba.conf, and that the \
             user exists"
        ),
        SqlState::INSUFFICIENT_PRIVILEGE => format!(
            "{host} does not let the user `{user}` into the database `{database}`: GRANT CONNECT ON DATABASE \
             \"{database}\" TO \"{user}\""
        ),
        SqlState::TOO_MANY_CONNECTIONS => format!(
            "{host} has no connection left for `{user}` in `{database}`: {said}; close others, or raise max_connections \
             (of the server, the role or the database)"
        ),
        SqlState::CANNOT_CONNECT_NOW => {
            format!("{host} is not ready yet: {said}; it should be in a moment")
        }
        SqlState::ADMIN_SHUTDOWN => format!("{host} is being stopped: {said}"),
        _ => format!("{host} refused the connection: {said} ({})", answer.code().code()),
    }
}

fn distrust(fault: &CertificateError) -> String {
    match fault {
        CertificateError::UnknownIssuer => {
            "nobody known has issued it; name the certificate of its authority (PEM) as sslrootcert in the URL".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host; connect by a name in its subjectAltName".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; renew it".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; check the clocks".to_owned()
        }
        other => format!("{other}; a certificate of an authority (CA:TRUE) cannot be a server's own"),
    }
}

/// The first error of this kind among an error and its causes.
fn cause<E: Error + 'static>(error: &tokio_postgres::Error) -> Option<&E> {
    causes(error).find_map(|error| error.downcast_ref())
}

fn causes<'a>(error: &'a tokio_postgres::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let first: &'a (dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error| (*error).source())
}

/// An I/O error does not count what it wraps as its source.
fn tls_fault(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    cause::<io::Error>(error)?.get_ref()?.downcast_ref()
}

/// An error with all its causes: `tokio_postgres` hides what the server said in them. What the server adds as detail is left
/// out, since it may quote rows.
pub(crate) fn unfolded(error: &tokio_postgres::Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return format!("{} ({})", answer.message(), answer.code().code());
    }
    causes(error)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
