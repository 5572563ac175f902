//! From the text of an option to its value. Each function answers a broken rule with a sentence that quotes the text (but
//! for URLs, which may hold a password) and shows what would be right.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use stentor_domain::address::{AllowedDestination, AllowedDestinationError};

use ipnet::IpNet;
use stentor_delivery::egress::EgressProxy;
use stentor_store::{Database, PostgresAddress};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::LogFormat;

/// The longest name that DNS can carry, in bytes (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Any text but the empty one.
pub(crate) fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err("it is empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// A path; whether something is there is for the reader of the file to find out.
pub(crate) fn path(path: &str) -> Result<PathBuf, String> {
    text(path).map(PathBuf::from)
}

/// A whole number from `MIN` to `MAX`, both included. `T` must hold `MAX`.
pub(crate) fn whole_number<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    text.parse::<u64>()
        .ok()
        .filter(|number| (MIN..=MAX).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("`{text}` is not a whole number from {MIN} to {MAX}"))
}

/// An address with its port. A name is refused: which of its addresses to listen on would be a guess.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "`{text}` is not an IP address with a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080"
        )
    })
}

/// A network in CIDR notation; a bare address is a network of one.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| format!("`{text}` is not a network, such as 10.0.0.0/8, 192.0.2.7 or fd00::/8"))
}

/// An address or network that deliveries may reach, with or without a port.
pub(crate) fn destination(text: &str) -> Result<AllowedDestination, String> {
    text.parse()
        .map_err(|error: AllowedDestinationError| error.to_string())
}

/// An HTTP proxy, as `http://host:port` or `https://host:port`. The text is never quoted: it may hold a password.
pub(crate) fn egress_proxy(url: &str) -> Result<EgressProxy, String> {
    EgressProxy::parse(url).map_err(str::to_owned)
}

/// A host as it stands in a Host header before the port, in lower case: a name, an IPv4 address or an IPv6 address in
/// brackets.
pub(crate) fn host_name(text: &str) -> Result<String, String> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_name_byte);
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = inside.is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok());
    if is_name || is_address {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!(
            "`{text}` is not a host, such as hooks.example.com: leave out scheme, port and path"
        ))
    }
}

/// `sqlite:PATH`, or the URL of a PostgreSQL server. The text is never quoted: it may hold a password.
pub(crate) fn database(url: &str) -> Result<Database, String> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        return PostgresAddress::parse(url).map(Database::Postgres);
    }
    let path = url
        .strip_prefix("sqlite:")
        .ok_or("it starts neither with sqlite:, as in sqlite:/var/lib/stentor.db, nor with postgres:")?;
    if path.is_empty() || path.starts_with(':') {
        return Err("it names no file after sqlite:, and what was accepted must be on disk".to_owned());
    }
    if path.contains('?') {
        return Err("it has parameters; write the bare path after sqlite:".to_owned());
    }
    // In `sqlite://hooks.db` the name would be read as a directory of the root.
    if path.starts_with("//") && !path.starts_with("///") {
        return Err(
            "after sqlite: comes the path itself: sqlite:relative.db or sqlite:/absolute.db".to_owned(),
        );
    }
    Ok(Database::File(PathBuf::from(path)))
}

/// `ignore` or `forward`.
pub(crate) fn forward(text: &str) -> Result<bool, String> {
    match text {
        "ignore" => Ok(false),
        "forward" => Ok(true),
        _ => Err(format!("`{text}` is neither ignore nor forward")),
    }
}

/// `text` or `json`.
pub(crate) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is neither text nor json")),
    }
}

/// `LEVEL` and `MODULE=LEVEL`, with commas between. Parsed here because the library reads a misspelled level as the name
/// of a module and would log nothing.
pub(crate) fn log_level(text: &str) -> Result<Targets, String> {
    text.split(',').map(str::trim).try_fold(Targets::new(), |targets, directive| {
        let (module, level) = directive.rsplit_once('=').map_or((None, directive), |(module, level)| (Some(module), level));
        // The library also takes numbers and the empty text; here a level has one spelling.
        let level = Some(level)
            .filter(|level| !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphabetic()))
            .and_then(|level| level.parse::<LevelFilter>().ok())
            .ok_or_else(|| {
                format!("`{directive}` is neither a level (off, error, warn, info, debug, trace) nor MODULE=LEVEL")
            })?;
        Ok(match module {
            Some(module) => targets.with_target(module, level),
            None => targets.with_default(level),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_whole_number_keeps_to_its_bounds() {
        let parse = whole_number::<u32, 1, 50>;
        assert_eq!((parse("1"), parse("50")), (Ok(1), Ok(50)));
        for wrong in ["", "0", "51", "-1", "1.0", "1e1", " 1", "18446744073709551616"] {
            assert_eq!(
                parse(wrong),
                Err(format!("`{wrong}` is not a whole number from 1 to 50"))
            );
        }
    }

    #[test]
    fn a_listening_address_is_an_ip_address_with_a_port() {
        assert!(socket_address("[::1]:0").is_ok());
        for wrong in [
            "",
            "8080",
            ":8080",
            "localhost:8080",
            "127.0.0.1",
            "127.0.0.1:65536",
            "::1:8080",
        ] {
            assert!(socket_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bare_address_is_a_network_of_one() {
        assert_eq!(network("192.0.2.7").unwrap(), "192.0.2.7/32".parse().unwrap());
        assert_eq!(network("fd00::/8").unwrap(), "fd00::/8".parse().unwrap());
        for wrong in ["", "10.0.0.0/33", "example.com", "10.0.0"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_name_has_no_scheme_port_or_path_and_is_kept_in_lower_case() {
        assert_eq!(host_name("Hooks.Example.com").unwrap(), "hooks.example.com");
        assert_eq!(host_name("[::1]").unwrap(), "[::1]");
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        for wrong in ["", "https://a", "a:80", "a/b", "a b", "*", "[::1", "[a]", &long] {
            assert!(host_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_database_is_a_file_named_after_sqlite() {
        for (url, path) in [
            ("sqlite:a/b.db", "a/b.db"),
            ("sqlite:/b.db", "/b.db"),
            ("sqlite:///b.db", "/b.db"),
        ] {
            assert!(matches!(database(url).unwrap(), Database::File(file) if file == Path::new(path)));
        }
        for wrong in [
            "",
            "b.db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite://b.db",
            "sqlite:b.db?mode=ro",
            "mysql://b",
        ] {
            assert!(database(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_misspelled_log_level_is_refused_rather_than_read_as_a_module() {
        let targets = log_level("warn, stentor_delivery=trace").unwrap();
        assert!(targets.would_enable("stentor_delivery::send", &tracing::Level::TRACE));
        assert!(!targets.would_enable("hyper", &tracing::Level::INFO));
        for wrong in [
            "",
            "inof",
            "info,",
            "5",
            "stentor=",
            "stentor=loud",
            "[span{field=1}]",
        ] {
            assert!(log_level(wrong).is_err(), "{wrong}");
        }
    }
}
