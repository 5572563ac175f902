use super::*;
use proptest::prelude::*;
use std::io::Write as _;
use tokio_postgres::config::SslMode;

fn good(url: &str) -> PostgresAddress {
    parse(url).unwrap_or_else(|rule| panic!("{url}: {rule}"))
}

fn refused(url: &str) -> String {
    parse(url).err().unwrap_or_else(|| panic!("{url} is taken"))
}

/// Hosts as an error would name them.
fn hosts(url: &str) -> Vec<String> {
    good(url).hosts.iter().map(ToString::to_string).collect()
}

#[test]
fn a_url_names_user_database_and_hosts() {
    let address = good("postgresql://us%40er:pass%2Fword@db.internal/stentor");
    assert_eq!((&*address.user, &*address.database), ("us@er", "stentor"));
    assert_eq!(
        address.password.as_ref().map(|password| password.as_str()),
        Some("pass/word")
    );
    for (url, expected) in [
        ("postgres://u@h/d", vec!["h:5432"]),
        ("postgres://u@h:6000/d?", vec!["h:6000"]),
        ("postgres://u@192.0.2.1/d", vec!["192.0.2.1:5432"]),
        ("postgres://u@[::1]:6000/d", vec!["[::1]:6000"]),
        ("postgres://u@[::1]/d", vec!["[::1]:5432"]),
        ("postgres://u@h1:1,h2,h3:3/d", vec!["h1:1", "h2:5432", "h3:3"]),
        ("postgres://u@%2Frun%2Fpg/d", vec!["/run/pg/.s.PGSQL.5432"]),
        ("postgres://u@%2Frun%2Fpg:6/d", vec!["/run/pg/.s.PGSQL.6"]),
        ("postgres://u@/d?host=/run/pg&port=6", vec!["/run/pg/.s.PGSQL.6"]),
        ("postgres://u@/d?host=h1,::1", vec!["h1:5432", "[::1]:5432"]),
        ("postgres://u@/d?host=h1,h2&port=1,2", vec!["h1:1", "h2:2"]),
    ] {
        assert_eq!(hosts(url), expected, "{url}");
    }
}

#[test]
fn of_several_hosts_the_one_that_takes_writes_is_meant() {
    for (url, expected) in [
        ("postgres://u@h/d", false),
        ("postgres://u@h1,h2/d", true),
        ("postgres://u@h1,h2/d?target_session_attrs=any", false),
        ("postgres://u@h/d?target_session_attrs=read-write", true),
    ] {
        assert_eq!(good(url).writable_only, expected, "{url}");
    }
}

#[test]
fn encryption_has_the_words_of_libpq() {
    for (url, mode) in [
        ("postgres://u@h/d", SslMode::Prefer),
        ("postgres://u@h/d?sslmode=prefer", SslMode::Prefer),
        ("postgres://u@h/d?sslmode=disable", SslMode::Disable),
        ("postgres://u@h/d?sslmode=require", SslMode::Require),
        ("postgres://u@h/d?sslmode=verify-full", SslMode::Require),
    ] {
        assert_eq!(good(url).tls.mode(), mode, "{url}");
    }
}

#[test]
fn the_authorities_come_from_a_file_of_certificates() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let url = format!(
        "postgres://u@h/d?sslmode=verify-full&sslrootcert={}",
        file.path().display()
    );
    assert!(refused(&url).contains("holds no certificate"));
    let authority = rcgen::generate_simple_self_signed(["h".to_owned()])
        .unwrap()
        .cert
        .pem();
    file.write_all(authority.as_bytes()).unwrap();
    good(&url);
    file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    assert!(refused(&url).contains("is not one of certificates (PEM)"));
    assert!(refused("postgres://u@h/d?sslmode=verify-full&sslrootcert=/nowhere").contains("cannot be read"));
}

#[test]
fn a_connection_waits_five_seconds_for_each_host_unless_it_is_told_otherwise() {
    assert_eq!(good("postgres://u@h/d").connect_timeout, Duration::from_secs(5));
    let address = good("postgres://u@h/d?connect_timeout=2&channel_binding=require");
    assert_eq!(address.connect_timeout, Duration::from_secs(2));
    assert_eq!(address.channel_binding, ChannelBinding::Require);
}

#[test]
fn what_is_wrong_with_a_url_is_said() {
    let long = format!("postgres://{}@h/d", "u".repeat(64));
    let many = format!("postgres://u@{}/d", ["h"; 17].join(","));
    for (url, rule) in [
        ("mysql://u@h/d", "does not begin with postgres://"),
        ("postgres:u@h/d", "does not begin with postgres://"),
        ("postgres://h/d", "names no user"),
        ("postgres://:p@h/d", "names no user"),
        ("postgres://u@h", "names no database"),
        ("postgres://u@h/", "names no database"),
        ("postgres://u@h/?sslmode=require", "names no database"),
        ("postgres://u@/d", "names no host"),
        ("postgres://u@h1,/d", "what stands for a host"),
        ("postgres://u@h%20/d", "what stands for a host"),
        ("postgres://u@run/pg/d", "write % as %25"),
        ("postgres://u@h:0/d", "a whole number from 1 to 65535"),
        ("postgres://u@h:/d", "a whole number from 1 to 65535"),
        ("postgres://u@h:65536/d", "a whole number from 1 to 65535"),
        ("postgres://u@::1/d", "stands in brackets"),
        ("postgres://u@[::1/d", "is not closed"),
        ("postgres://u@[h]/d", "not an IPv6 address"),
        ("postgres://u@[::1]5432/d", "comes :PORT"),
        ("postgres://u:@h/d", "password is empty"),
        ("postgres://u:p%0@h/d", "write % as %25"),
        ("postgres://u:p%zz@h/d", "write % as %25"),
        ("postgres://u:p%ff@h/d", "not that of UTF-8"),
        ("postgres://u:p%00@h/d", "control character"),
        ("postgres://u@h/d%00", "control character"),
        ("postgres://u@h/d#x", "write % as %25"),
        ("postgres://u @h/d", "write % as %25"),
        ("postgres://u@h/d/e", "write % as %25"),
        ("postgres://u@h/d?sslmode", "has no value"),
        ("postgres://u@h/d?sslmode=require&sslmode=require", "given twice"),
        ("postgres://u@h/d?sslmode=allow", "none of disable, prefer"),
        ("postgres://u@h/d?sslmode=verify-ca", "write verify-full"),
        ("postgres://u@h/d?sslrootcert=/a", "with sslmode=verify-full only"),
        (
            "postgres://u@h/d?sslmode=require&sslrootcert=/a",
            "with sslmode=verify-full only",
        ),
        ("postgres://u@h/d?connect_timeout=0", "from 1 to 60"),
        ("postgres://u@h/d?connect_timeout=1.5", "from 1 to 60"),
        ("postgres://u@h/d?target_session_attrs=standby", "Stentor writes"),
        ("postgres://u@h/d?channel_binding=yes", "none of disable"),
        ("postgres://u@h/d?host=h2", "keep one"),
        ("postgres://u@h/d?port=1", "keep one"),
        ("postgres://u@/d?host=h1,h2,h3&port=1,2", "one for each host"),
        ("postgres://u@h/d?password=p", "set STENTOR_DATABASE_PASSWORD"),
        ("postgres://u@h/d?user=v", "into the URL itself"),
        ("postgres://u@h/d?application_name=a", "tells its own connections"),
        ("postgres://u@h/d?options=-cfoo", "ALTER ROLE"),
        ("postgres://u@h/d?sslkey=/k", "use a password"),
        (
            "postgres://u@h/d?keepalives_idle=3",
            "its parameter `keepalives_idle` is not taken",
        ),
        ("postgres://u@h/d?hunter2=3", "no PostgreSQL server knows"),
        (&long, "longer than 63"),
        (&many, "more than 16 hosts"),
    ] {
        let said = refused(url);
        assert!(said.contains(rule), "{url}: {said}");
    }
}

#[test]
fn debug_output_shows_hosts_and_database_only() {
    let shown = format!("{:?}", good("postgres://someone:hunter2@h:1/d"));
    assert_eq!(
        shown,
        "PostgresAddress { hosts: [Host { place: Network(\"h\"), port: 1 }], database: \"d\", .. }"
    );
}

proptest! {
    /// Whether or not it was encoded, and wherever a slip moves it.
    #[test]
    fn no_refusal_and_no_debug_output_shows_the_password(
        before in "[ -~]{0,6}", after in "[ -~]{0,6}", shape in 0..6_usize
    ) {
        let password = format!("{before}hunter2{after}");
        // What follows a bare @ is a host, and nobody can tell that it was not meant.
        prop_assume!(shape != 2 || !password.contains('@'));
        let url = match shape {
            0 => format!("postgres://u:{password}@h/d"),
            1 => format!("postgres://u:{password}@h:x/d"),
            2 => format!("postgres://u:{password}/d"),
            3 => format!("postgres://u@h/d?password={password}"),
            4 => format!("postgres://u:{password}@h/d?sslmode=x"),
            _ => format!("postgres:/u:{password}@h"),
        };
        let shown = match parse(&url) {
            Ok(address) => format!("{address:?}"),
            Err(rule) => rule,
        };
        prop_assert!(!shown.contains("hunter2"), "{url}: {shown}");
    }

    #[test]
    fn a_password_that_is_encoded_comes_through_whole(password in "[^\\p{Cc}]{1,20}") {
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let address = good(&format!("postgres://u:{encoded}@h/d"));
        prop_assert_eq!(address.password.as_ref().map(|kept| kept.as_str()), Some(&*password));
    }
}
