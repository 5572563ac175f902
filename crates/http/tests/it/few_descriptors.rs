//! A process that has run out of file descriptors goes on serving.
//!
//! The limit belongs to a process, so that the server runs in one of its own: this test binary, started again.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stentor_http::listen::ListenLimits;

use crate::support::*;

const DESCRIPTORS: u64 = 64;

/// Ends the server's process however the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
#[ignore = "the server's side of the test below, which starts it"]
fn serve_with_few_descriptors() {
    let limit = Rlimit {
        current: Some(DESCRIPTORS),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = start(ListenLimits {
            head_read_max: 2 * PATIENCE,
            ..ListenLimits::default()
        })
        .await;
        println!("\nlistening {}", server.addr);
        server.ended().await
    });
}

#[test]
fn a_server_out_of_descriptors_closes_idle_clients_and_serves_new_ones() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "few_descriptors::serve_with_few_descriptors",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = Server(child);
    let output = BufReader::new(server.0.stdout.take().unwrap());
    let address: SocketAddr = output
        .lines()
        .find_map(|line| {
            line.unwrap()
                .strip_prefix("listening ")
                .map(|address| address.parse().unwrap())
        })
        .unwrap();
    let silent: Vec<TcpStream> = (0..4 * DESCRIPTORS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(HEALTH_AND_CLOSE.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), 200);
    drop(silent);
}
