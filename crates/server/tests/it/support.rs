//! The binary as its operator runs it: a command to its end, or a process that goes on.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// What a server logs before its address.
const LISTENING: &str = "listening on http://";

/// The binary with these words, in an environment of nothing.
pub(crate) fn binary(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.args(words).env_clear();
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it prints UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("it prints UTF-8")
}

/// A process that goes on until it is told to end; killed when this is dropped.
pub(crate) struct Running {
    process: Child,
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) stderr: BufReader<ChildStderr>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        Self {
            stdout: BufReader::new(process.stdout.take().expect("it is piped")),
            stderr: BufReader::new(process.stderr.take().expect("it is piped")),
            process,
        }
    }

    /// Starts a server on this folder and waits until it listens.
    pub(crate) fn server(data: &Path) -> (Self, SocketAddr) {
        let mut command = binary(&["serve", "--listen", "127.0.0.1:0"]);
        command.arg("--data").arg(data);
        let mut server = Self::start(command);
        let line = line_with(LISTENING, &mut server.stderr);
        let (_, address) = line.split_once(LISTENING).unwrap_or_default();
        let address = address.split_whitespace().next().unwrap_or_default();
        (server, address.parse().expect("an address follows"))
    }

    /// Interrupts it as Ctrl-C does, and waits for its end.
    pub(crate) fn interrupt(mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::INT).expect("it still runs");
        self.process.wait().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads lines up to the first that holds `text`, and returns it.
#[track_caller]
pub(crate) fn line_with(text: &str, lines: &mut impl BufRead) -> String {
    let mut read = String::new();
    let found = lines
        .lines()
        .map(|line| line.expect("it prints UTF-8"))
        .find(|line| {
            read.push_str(line);
            read.push('\n');
            line.contains(text)
        });
    assert!(found.is_some(), "{text:?} is not in\n{read}");
    found.unwrap_or_default()
}

/// The status line of what a server answers to a request without a body.
pub(crate) fn status_of(address: SocketAddr, request: &str, key: &str) -> String {
    let answer = answer_of(address, request, key);
    answer.lines().next().unwrap_or_default().to_owned()
}

/// What a server answers to a request without a body, as it came.
pub(crate) fn answer_of(address: SocketAddr, request: &str, key: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}
