"""How an operator names a PostgreSQL server: encryption, passwords, pools, and what is said where something is wrong."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from support import process
from support.api import make_tenant, publish
from support.pgbouncer import pgbouncer
from support.postgres import Cluster, Postgres
from support.ports import free_port
from support.server import Server

USER = "stentor"
# Every character that has a meaning in a URL.
PASSWORD = "hun/ter2:?#@%&=+ [x]"
# Users come in encrypted and with a password; only the tests themselves come in without.
AUTHENTICATION = """\
host all postgres 127.0.0.1/32 trust
hostssl all all 127.0.0.1/32 scram-sha-256
local all all scram-sha-256
"""


def migrate(url: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`stentor migrate`, which needs the database and nothing else."""
    return process.run(
        *("migrate", "--data", folder / "data"), cwd=folder, variables={"STENTOR_DATABASE_URL": url} | variables
    )


def refused(url: str, folder: Path, **variables: str) -> str:
    """What is said where the database will not do."""
    done = migrate(url, folder, **variables)
    assert done.returncode != 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert PASSWORD not in said and quote(PASSWORD, safe="") not in said and "hunter3" not in said, said
    assert "panic" not in said, said
    return said


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory):
    """A server with a certificate for `localhost`, a user with a password, and a database of that user's."""
    postgres = Postgres(authentication=AUTHENTICATION)
    try:
        postgres.create()
        folder = tmp_path_factory.mktemp("certificates")
        certificate = make_certificates(folder)
        postgres.write(postgres.data / "server.crt", certificate.read_text())
        postgres.write(postgres.data / "server.key", certificate.with_suffix(".key").read_text())
        postgres.configure(ssl="on")
        postgres.start()
        literal = PASSWORD.replace("'", "''")
        postgres.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{literal}'")
        postgres.sql(f"CREATE DATABASE stentor OWNER {USER}")
        yield postgres, folder
    finally:
        postgres.discard()


def make_certificates(folder: Path) -> Path:
    """An authority (`authority.pem`), another one (`other.pem`), and a certificate of the first one."""

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("authority", "other"):
        openssl("req", "-x509", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2")
    (folder / "extensions").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial"),
        *("-extfile", "extensions", "-days", "2", "-out", "server.crt"),
    )
    return folder / "server.crt"


def test_a_server_on_an_encrypted_database_with_a_password_in_a_file(
    encrypted: tuple[Postgres, Path], servers: Callable[..., Server], tmp_path: Path
):
    postgres, certificates = encrypted
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    options = f"sslmode=verify-full&sslrootcert={certificates}/authority.pem&channel_binding=require"
    server = servers(
        database_url=f"postgres://{USER}@localhost:{postgres.port}/stentor?{options}",
        variables={"STENTOR_DATABASE_PASSWORD_FILE": str(password)},
    ).start()
    publish(server.root, make_tenant(server.root)).expect(202)
    encryption = postgres.sql(
        "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = 'stentor'"
    )
    assert encryption == [["t"]]
    assert server.stop() == 0
    assert PASSWORD not in server.log


@pytest.mark.parametrize("mode", ["", "?sslmode=prefer", "?sslmode=require"])
def test_prefer_and_require_encrypt_without_knowing_the_authority(
    encrypted: tuple[Postgres, Path], tmp_path: Path, mode: str
):
    postgres, _ = encrypted
    # By an address, for which the certificate is not.
    url = f"postgres://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{postgres.port}/stentor{mode}"
    done = migrate(url, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_server_whose_word_is_not_to_be_trusted_is_refused(encrypted: tuple[Postgres, Path], tmp_path: Path):
    postgres, certificates = encrypted

    def said(host: str, options: str) -> str:
        url = f"postgres://{USER}@{host}:{postgres.port}/stentor?{options}"
        return refused(url, tmp_path, STENTOR_DATABASE_PASSWORD=PASSWORD)

    authority = f"sslrootcert={certificates}/authority.pem"
    assert "it is for another host" in said("127.0.0.1", f"sslmode=verify-full&{authority}")
    assert "nobody known has issued it" in said("localhost", "sslmode=verify-full")
    assert "nobody known has issued it" in said(
        "localhost", f"sslmode=verify-full&sslrootcert={certificates}/other.pem"
    )
    assert "no pg_hba.conf entry" in said("localhost", "sslmode=disable")


def test_no_tls_where_it_is_asked_for_is_refused(postgres: Cluster, tmp_path: Path):
    said = refused(postgres.url() + "?sslmode=require", tmp_path)
    assert "offers no TLS" in said


def test_what_is_wrong_with_a_database_is_said_with_a_way_out(encrypted: tuple[Postgres, Path], tmp_path: Path):
    postgres, _ = encrypted
    at = f"127.0.0.1:{postgres.port}"
    postgres.sql("CREATE ROLE guest LOGIN PASSWORD 'hunter3'")
    postgres.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 OWNER stentor")
    postgres.sql("CREATE DATABASE closed")
    postgres.sql("REVOKE CONNECT ON DATABASE closed FROM public")
    postgres.sql("CREATE DATABASE fixed OWNER stentor")
    postgres.sql("ALTER DATABASE fixed SET default_transaction_read_only = on")
    postgres.sql("CREATE DATABASE full_up OWNER stentor CONNECTION LIMIT 0")
    guest = {"STENTOR_DATABASE_PASSWORD": "hunter3"}
    owner = {"STENTOR_DATABASE_PASSWORD": PASSWORD}
    for url, variables, way_out in [
        (f"postgres://{USER}@127.0.0.1:{free_port()}/stentor", owner, "refused the connection: is PostgreSQL running"),
        (f"postgres://{USER}@nowhere.invalid/stentor", owner, "does not resolve to an address"),
        (f"postgres://{USER}@%2Fnowhere/stentor", owner, "there is no socket /nowhere/.s.PGSQL.5432"),
        (f"postgres://{USER}@{at}/absent", owner, 'CREATE DATABASE "absent" OWNER "stentor"'),
        (f"postgres://{USER}@{at}/stentor", guest, "check STENTOR_DATABASE_PASSWORD"),
        (f"postgres://{USER}@{at}/stentor", {}, "asks for a password of the user `stentor`"),
        (f"postgres://{USER}@{at}/closed", owner, "GRANT CONNECT"),
        (f"postgres://guest@{at}/stentor", guest, "GRANT USAGE, CREATE ON SCHEMA"),
        (f"postgres://{USER}@{at}/latin", owner, "it is encoded in LATIN1"),
        (f"postgres://{USER}@{at}/fixed", owner, "it takes no writes"),
        (f"postgres://{USER}@{at},{at}/fixed", owner, "takes no writes: it is a standby"),
        (f"postgres://{USER}@{at}/full_up", owner, "has no connection left"),
    ]:
        said = refused(url, tmp_path, **variables)
        assert way_out in said, said


def test_of_several_hosts_the_one_that_takes_writes_is_used(
    private_postgres: Callable[..., Postgres], tmp_path: Path
):
    fixed = private_postgres(settings={"default_transaction_read_only": "on"})
    primary = private_postgres()
    hosts = ",".join(f"127.0.0.1:{port}" for port in (free_port(), fixed.port, primary.port))
    done = migrate(f"postgres://postgres@{hosts}/postgres", tmp_path)
    assert done.returncode == 0, done.stderr
    assert primary.value("SELECT count(*) > 0 FROM pg_tables WHERE tablename = 'deliveries'") == "t"


def test_a_pool_is_taken_only_where_each_connection_is_a_session(
    private_postgres: Callable[..., Postgres], servers: Callable[..., Server], tmp_path: Path
):
    postgres = private_postgres()
    database = postgres.create_database()
    for mode in ("transaction", "statement"):
        with pgbouncer(postgres, database, mode, "postgres") as url:
            assert "Stentor needs sessions of its own" in refused(url, tmp_path)
            # A start that looks for the database's master key asks no less.
            server = servers(database_url=url).spawn()
            assert server.wait(20) != 0
            assert "Stentor needs sessions of its own" in server.log
    with pgbouncer(postgres, database, "session", "postgres") as url:
        server = servers(database_url=url).start()
        publish(server.root, make_tenant(server.root)).expect(202)
        assert server.stop() == 0
