//! What `--help` teaches below the list of flags: examples, and what to read next.

pub(super) const CONFIGURATION: &str = "Configuration";

pub(super) const ROOT_KEY_TIP: &str = "a flag can be seen by other users of the machine: set STENTOR_ROOT_KEY, or \
                                       STENTOR_ROOT_KEY_FILE to a file that holds the key";
pub(super) const MASTER_KEY_TIP: &str = "a flag can be seen by other users of the machine: set STENTOR_MASTER_KEY, or \
                                         STENTOR_MASTER_KEY_FILE to a file that holds the keys";

pub(super) const DATABASE_PASSWORD_TIP: &str = "a flag can be seen by other users of the machine: set \
                                                STENTOR_DATABASE_PASSWORD, or STENTOR_DATABASE_PASSWORD_FILE to a file \
                                                that holds the password";

pub(super) const STENTOR: &str = "\
Start here:
  stentor demo              See an event accepted, delivered, failed and tried again.
  stentor serve             Run a server on this machine, with everything in ./stentor-data.

Next: `stentor serve --help` explains every option and where it may be set.";

pub(super) const SERVE: &str = "\
Where options are set:
  Every option is a flag, a variable and a line of the file of --config:
    --public-host hooks.example.com
    STENTOR_PUBLIC_HOSTS=hooks.example.com
    public_hosts = [\"hooks.example.com\"]
  A flag wins over a variable, a variable over the file, the file over the default; a list is
  replaced as a whole. A variable that is set but empty counts as not set.

Secrets have no flags and are not lines of the file:
  STENTOR_ROOT_KEY          The key that may do everything. Without it the first start makes one
                            and prints it once.
  STENTOR_MASTER_KEY        Base64 of 32 bytes, which seals signing secrets on disk. Several have
                            commas between, the current one first. Without it one is made in the
                            data directory.
  STENTOR_DATABASE_PASSWORD The password of the user that a postgres:// URL names. In the URL itself
                            it may stand only where that is in STENTOR_DATABASE_URL.
  STENTOR_EGRESS_PROXY_CREDENTIALS
                            USER:PASSWORD for the proxy that --egress-proxy names.
  Each of them with _FILE at its end, or root_key_file, master_key_file, database_password_file and
  egress_proxy_credentials_file in the file of --config, names a file with the secret instead.

Examples:
  stentor serve
      The API on http://127.0.0.1:8080, everything in ./stentor-data.
  stentor serve --allow-destination 127.0.0.1/32
      For development: deliveries may reach receivers on this machine, over plain HTTP.
  stentor serve --data /var/lib/stentor --listen 0.0.0.0:8080 \\
      --public-host hooks.example.com --trusted-proxy 10.0.0.0/8
      Behind a proxy that terminates TLS.
  STENTOR_ROOT_KEY_FILE=/run/secrets/root_key stentor serve --config /etc/stentor.toml
      From a file, with the root key from a store of secrets.
  STENTOR_DATABASE_PASSWORD_FILE=/run/secrets/database stentor serve \\
      --database-url 'postgres://stentor@db.internal:5432/stentor?sslmode=verify-full'
      On a PostgreSQL server.

Next: /openapi.json of the running server describes the API; `stentor key create --help` and
`stentor backup --help` for what comes after the first day.";

pub(super) const DEMO: &str = "\
Makes a tenant with endpoints, publishes orders, invoices and users, and shows every attempt with
its status, latency, verified signature and next retry. One endpoint fails at first, one hangs.
Everything is in one process and in a temporary folder; the log tells warnings only, unless
--log-level says otherwise.

Examples:
  stentor demo
      Serves on until Ctrl-C, with lines of curl to go on with.
  stentor demo --once
      Ends after the summary: code 0 says that everything was as it should be.
  stentor demo --listen 127.0.0.1:9000
      When port 8080 is taken.

Next: `stentor serve --help`.";

pub(super) const KEY: &str = "\
With a server running, POST /v1/keys makes keys.

Examples:
  stentor key create --role root
      A second root key, when the first one is lost.

Next: `stentor key create --help`.";

pub(super) const KEY_CREATE: &str = "\
Works on the data directory and refuses while a server runs on it: then POST /v1/keys makes keys.

Examples:
  stentor key create --role root --name \"after a lost key\"
      Everything, in every project.
  stentor key create --role project --project default --name backend
      For the backend that publishes events.
  stentor key create --role tenant --tenant acme --read-only --expires-at 2030-01-31T00:00:00Z
      For the support people of one customer.

Next: `stentor serve --help`.";

pub(super) const MASTER_KEY: &str = "\
A master key seals signing secrets and custom headers in the database. It is in the file master.key of
the data directory, unless STENTOR_MASTER_KEY or STENTOR_MASTER_KEY_FILE gives it. Keys are shown by
their names, 16 digits that do not tell the key.

Examples:
  stentor master-key rotate && stentor master-key forget
      A new key takes the place of the old one. Keep a copy of both apart: older backups need the old.

Next: `stentor master-key rotate --help`.";

pub(super) const MASTER_KEY_ROTATE: &str = "\
Puts a new key in front of the file master.key. A running server takes it within a second or two and
seals everything anew in the background, while it serves and delivers; without one the command does
that itself. It shows how far it is, and ends when the new key has sealed everything. It may be
interrupted, and the server killed, at any moment: the same command goes on, and so does a server.
The old key stays in the file until `stentor master-key forget`.

Where STENTOR_MASTER_KEY_FILE or STENTOR_MASTER_KEY gives the keys, put the new one in front of the
list yourself, a comma behind it, then run this to see it through. A server reads the file anew every
second; for the variable it must be started again.

Several nodes on one PostgreSQL database: run this on one of them and copy its master.key to all
others. The new key seals nothing until every node knows it.

Examples:
  stentor master-key rotate --data /var/lib/stentor
      With a server running on that directory, or without.

Next: back up master.key, then `stentor master-key forget --help`.";

pub(super) const MASTER_KEY_LIST: &str = "\
Examples:
  stentor master-key list --data /var/lib/stentor
      How far a rotation is.

Next: `stentor master-key rotate --help`.";

pub(super) const MASTER_KEY_FORGET: &str = "\
Removes from the file master.key what `stentor master-key list` shows as needed for nothing. Backups of
the database from before the rotation still need those keys: keep a copy with them. Cursors of lists
that were given out before the rotation answer 400 from now on.

Examples:
  stentor master-key forget --data /var/lib/stentor
      With a server running on that directory, or without.

Next: copy master.key to where your backups can find it.";

pub(super) const BACKUP: &str = "\
The copy is one whole database of one moment. Secrets in it are sealed: keep the master key, too,
and keep it elsewhere.

Examples:
  stentor backup --data /var/lib/stentor /backup/stentor-monday.db
      Copies what the server on this directory has accepted so far.

Next: to go back, stop the server, put the copy in the place of stentor.db, and remove stentor.db-wal
and stentor.db-shm beside it, which belong to the newer one.";

pub(super) const MIGRATE: &str = "\
There is no way back to an older version but a backup.

Examples:
  stentor backup /backup/before.db && stentor migrate
      With the server stopped.

Next: `stentor serve --help`.";

pub(super) const BENCH: &str = "\
Runs the server's real code on a real file, over HTTP, with a load and receivers of its own. A
delivery counts when the receiver has read it whole. CPU and memory are those of the measured
process alone. The table of bars at the end says what the project asks of itself and what this run
shows; docs/performance.md says how each scenario measures.

steady and latency stand beside a relay that only passes requests on, in turns: the ratio of the
two says what durable delivery costs, on any machine.

The database is made in the working directory and removed at the end; a directory kept in memory is
refused. backlog needs 3 GiB there, purge and batch 10 GiB. Needs Linux. Code 1 if a delivery was
lost; a bar that is missed is no failure.

With --database-url each round makes a database of its own on a PostgreSQL server, and drops it at
the end; the user needs the right CREATEDB. The password is STENTOR_DATABASE_PASSWORD or its file,
as for `serve`; no other option of a real server counts here. What PostgreSQL itself spends is told
where it runs on this machine.

With --target a server of this machine that runs already is measured, to compare two under one
load. It must allow deliveries to 127.0.0.0/8. What is made in it is deleted at the end. Its CPU
and memory are not told.

Examples:
  stentor bench
      A steady load, in words: about two minutes.
  stentor bench --quick
      Something of every scenario: about two minutes.
  stentor bench isolation backlog
      These two, as large as the bars ask for.
  stentor bench --all --json
      Everything, for a script: about half an hour.
  stentor bench --seconds 30 --connections 32 --fan-out 5
      A longer steady load with five endpoints for each event.
  stentor bench --database-url postgres://postgres@127.0.0.1:5432/postgres
      On PostgreSQL.
  stentor bench --target http://127.0.0.1:8080 --key stn_root_...
      On a server that runs already.

Next: `stentor serve --help`, its limits.";
