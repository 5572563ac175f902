//! The URL of a PostgreSQL server, as an operator writes it.
//!
//! No error here quotes what it reads but for the names of parameters: in a URL with a slip, anything may be a piece of the
//! password.

use super::{Host, Place, PostgresAddress};
use crate::postgres::tls::Tls;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::ChannelBinding;
use zeroize::Zeroizing;

const PORT: u16 = 5432;
const HOSTS_MAX: usize = 16;
/// The longest name that DNS can carry, in bytes (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// The longest name of a user or database, in bytes (NAMEDATALEN - 1).
const NAME_BYTES_MAX: usize = 63;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT_SECONDS_MAX: u64 = 60;
/// No name of a parameter is longer; what is may be a piece of something else.
const PARAMETER_NAME_BYTES_MAX: usize = 32;

const EXAMPLE: &str = "postgres://user@host:5432/name";
const ENCODE: &str = "a character in it that has a meaning in URLs stands in the wrong place; in a user, a password or a \
                      name of a database write % as %25, / as %2F, ? as %3F, # as %23, @ as %40 and : as %3A, or set \
                      STENTOR_DATABASE_PASSWORD, where a password stands as it is";

/// The parameters, each at most once, as they are written.
#[derive(Default)]
struct Parameters {
    host: Option<String>,
    port: Option<String>,
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    connect_timeout: Option<String>,
    target_session_attrs: Option<String>,
    channel_binding: Option<String>,
}

/// See [`PostgresAddress::parse`].
pub(super) fn parse(url: &str) -> Result<PostgresAddress, String> {
    let rest = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"))
        .ok_or_else(|| format!("it does not begin with postgres://, as in {EXAMPLE}"))?;
    if rest
        .contains(|character: char| character == '#' || character.is_whitespace() || character.is_control())
    {
        return Err(ENCODE.to_owned());
    }
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    if [parameters, database].iter().any(|part| part.contains('@')) || database.contains('/') {
        return Err(ENCODE.to_owned());
    }
    let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    if credentials.contains('@') {
        return Err(ENCODE.to_owned());
    }
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    let user = name(user, "user")?;
    let password = password.map(self::password).transpose()?;
    let parameters = Parameters::read(parameters)?;
    let hosts = parameters.hosts(hosts)?;
    let database = name(database, "database")?;
    Ok(PostgresAddress {
        user,
        database,
        password,
        tls: parameters.tls()?,
        channel_binding: parameters.channel_binding()?,
        connect_timeout: parameters.connect_timeout()?,
        writable_only: parameters.writable_only(hosts.len())?,
        hosts,
    })
}

fn name(text: &str, what: &str) -> Result<String, String> {
    let name = decoded(text)?;
    match name.len() {
        0 => Err(format!("it names no {what}, as in {EXAMPLE}")),
        1..=NAME_BYTES_MAX => Ok(name),
        _ => Err(format!(
            "the name of its {what} is longer than {NAME_BYTES_MAX} bytes"
        )),
    }
}

fn password(text: &str) -> Result<Zeroizing<String>, String> {
    let password = Zeroizing::new(decoded(text)?);
    if password.is_empty() {
        return Err("its password is empty: leave out the colon after the user".to_owned());
    }
    Ok(password)
}

/// Undoes the percent-encoding. Control characters, NUL among them, are in no name and no password that can be typed.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else {
            return Err(ENCODE.to_owned());
        };
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
            return Err(ENCODE.to_owned());
        };
        bytes.push(high << 4 | low);
        rest = tail;
    }
    let text =
        String::from_utf8(bytes).map_err(|_| "its percent-encoding is not that of UTF-8".to_owned())?;
    if text.contains(char::is_control) {
        return Err("it holds a control character".to_owned());
    }
    Ok(text)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

fn host_of_authority(text: &str) -> Result<Host, String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("a bracket of a host is not closed")?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| "what stands in brackets is not an IPv6 address".to_owned())?;
            match after.strip_prefix(':') {
                None if !after.is_empty() => return Err("after the bracket of a host comes :PORT".to_owned()),
                port => (host, port),
            }
        }
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address stands in brackets, as in [::1]:5432".to_owned());
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    Ok(Host {
        place: place(&decoded(host)?)?,
        port: port.map_or(Ok(PORT), self::port)?,
    })
}

fn place(text: &str) -> Result<Place, String> {
    if text.starts_with('/') {
        return Ok(Place::Folder(PathBuf::from(text)));
    }
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_name_byte);
    if is_name || text.parse::<IpAddr>().is_ok() {
        Ok(Place::Network(text.to_owned()))
    } else {
        Err(format!(
            "what stands for a host is no name, no address and no absolute path of a socket's folder, as in {EXAMPLE}"
        ))
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse::<u16>()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| "what stands for a port is not a whole number from 1 to 65535".to_owned())
}

impl Parameters {
    fn read(text: &str) -> Result<Self, String> {
        let mut parameters = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or("one of its parameters has no value, as in ?sslmode=require")?;
            let place = parameters.place_of(name)?;
            if place.is_some() {
                return Err(format!("its parameter `{name}` is given twice"));
            }
            *place = Some(decoded(value)?);
        }
        Ok(parameters)
    }

    fn place_of(&mut self, name: &str) -> Result<&mut Option<String>, String> {
        match name {
            "host" => Ok(&mut self.host),
            "port" => Ok(&mut self.port),
            "sslmode" => Ok(&mut self.sslmode),
            "sslrootcert" => Ok(&mut self.sslrootcert),
            "connect_timeout" => Ok(&mut self.connect_timeout),
            "target_session_attrs" => Ok(&mut self.target_session_attrs),
            "channel_binding" => Ok(&mut self.channel_binding),
            _ => Err(not_taken(name)),
        }
    }

    /// The hosts of the authority, or of the parameters `host` and `port` where that is empty.
    fn hosts(&self, authority: &str) -> Result<Vec<Host>, String> {
        let hosts = match (&self.host, &self.port) {
            (None, None) if authority.is_empty() => Err(format!("it names no host, as in {EXAMPLE}")),
            (None, None) => authority.split(',').map(host_of_authority).collect(),
            (Some(hosts), ports) if authority.is_empty() => hosts_of_parameters(hosts, ports.as_deref()),
            _ => Err("its parameters `host` and `port` stand beside a host before them: keep one".to_owned()),
        }?;
        if hosts.len() > HOSTS_MAX {
            return Err(format!("it names more than {HOSTS_MAX} hosts"));
        }
        Ok(hosts)
    }

    fn tls(&self) -> Result<Tls, String> {
        let roots = self.sslrootcert.as_deref();
        match (self.sslmode.as_deref(), roots) {
            (Some("verify-full"), roots) => Tls::verified(roots.map(str::as_ref)),
            (_, Some(_)) => {
                Err("its `sslrootcert` is asked with sslmode=verify-full only: add that".to_owned())
            }
            (Some("disable"), None) => Ok(Tls::Off),
            (Some("prefer") | None, None) => Tls::preferred(),
            (Some("require"), None) => Tls::required(),
            (Some("verify-ca"), None) => Err(
                "its sslmode=verify-ca would trust the certificate of any host: write verify-full".to_owned(),
            ),
            (Some(_), None) => {
                Err("its `sslmode` is none of disable, prefer, require and verify-full".to_owned())
            }
        }
    }

    fn channel_binding(&self) -> Result<ChannelBinding, String> {
        match self.channel_binding.as_deref() {
            Some("disable") => Ok(ChannelBinding::Disable),
            Some("prefer") | None => Ok(ChannelBinding::Prefer),
            Some("require") => Ok(ChannelBinding::Require),
            Some(_) => Err("its `channel_binding` is none of disable, prefer and require".to_owned()),
        }
    }

    fn connect_timeout(&self) -> Result<Duration, String> {
        let Some(text) = &self.connect_timeout else {
            return Ok(CONNECT_TIMEOUT);
        };
        text.parse()
            .ok()
            .filter(|seconds| (1..=CONNECT_TIMEOUT_SECONDS_MAX).contains(seconds))
            .map(Duration::from_secs)
            .ok_or_else(|| {
                format!("its `connect_timeout` is not a whole number of seconds from 1 to {CONNECT_TIMEOUT_SECONDS_MAX}")
            })
    }

    /// Of several hosts the one that takes writes is meant, unless the URL says otherwise.
    fn writable_only(&self, hosts: usize) -> Result<bool, String> {
        match self.target_session_attrs.as_deref() {
            Some("read-write") => Ok(true),
            Some("any") => Ok(false),
            None => Ok(hosts > 1),
            Some(_) => {
                Err("its `target_session_attrs` is neither read-write nor any: Stentor writes".to_owned())
            }
        }
    }
}

/// One port for all hosts, or one for each.
fn hosts_of_parameters(hosts: &str, ports: Option<&str>) -> Result<Vec<Host>, String> {
    let places = hosts.split(',').map(place).collect::<Result<Vec<_>, _>>()?;
    let mut ports = match ports {
        Some(ports) => ports.split(',').map(port).collect::<Result<Vec<_>, _>>()?,
        None => vec![PORT],
    };
    if let [port] = ports[..] {
        ports = vec![port; places.len()];
    }
    if ports.len() != places.len() {
        return Err("its `port` has neither one number nor one for each host".to_owned());
    }
    let pairs = places.into_iter().zip(ports);
    Ok(pairs.map(|(place, port)| Host { place, port }).collect())
}

fn not_taken(name: &str) -> String {
    let reason = match name {
        "password" => {
            "set STENTOR_DATABASE_PASSWORD, or STENTOR_DATABASE_PASSWORD_FILE to a file that holds it"
        }
        "user" | "dbname" => "write it into the URL itself, as in postgres://user@host:5432/name",
        "application_name" => "Stentor tells its own connections apart by it",
        "options" => {
            "Stentor makes the settings of its sessions itself, and others belong to the role: ALTER ROLE ... SET"
        }
        "sslcert" | "sslkey" | "sslpassword" => "certificates of clients are not supported; use a password",
        _ if name.len() > PARAMETER_NAME_BYTES_MAX
            || name
                .bytes()
                .any(|byte| !byte.is_ascii_lowercase() && byte != b'_') =>
        {
            return "it has a parameter that no PostgreSQL server knows".to_owned();
        }
        _ => {
            "the known ones are host, port, sslmode, sslrootcert, connect_timeout, target_session_attrs and \
             channel_binding"
        }
    };
    format!("its parameter `{name}` is not taken: {reason}")
}

#[cfg(test)]
mod tests;
