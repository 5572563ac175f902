"""What the black-box tests stand on.

In reading order: `waiting` (bounded waits, never sleeps), `process` (one `stentor` command), `server` (a real server in
its own directory), `client` (the API over HTTP), `api` (the few calls that most tests start with), `wire` (raw sockets,
for requests that no library would send), `receiver` (the other end of a delivery), `signatures` (the official
libraries), `checker` (what must be true of a whole history), `load` (producers and receivers that make one).
"""
