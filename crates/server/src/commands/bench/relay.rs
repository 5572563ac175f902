//! The relay: passes each body on over pooled connections and answers when the receivers have. It stores nothing, signs
//! nothing and checks nothing, so that it is the ceiling for any server that takes events over HTTP and sends them on.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use parking_lot::Mutex;

use crate::cli::RelayOptions;
use crate::client::Connection;
use crate::failure::Failure;
use crate::loopback::{self, Answer};

/// Serves until the process is ended.
pub(crate) async fn run(options: RelayOptions) -> Result<(), Failure> {
    let (listener, address) = loopback::listen()?;
    let relay = Arc::new(Relay {
        to: options.to,
        fan_out: options.fan_out,
        idle: Mutex::new(Vec::new()),
    });
    let pass_on = move |request| pass_on(Arc::clone(&relay), request);
    // As `serve` says it, so that whoever started either finds its address in the same way.
    tracing::info!(%address, "listening on http://{address}");
    loopback::serve(listener, service_fn(pass_on)).await;
    Ok(())
}

struct Relay {
    to: SocketAddr,
    fan_out: u64,
    /// Bounded by the requests that were under way at once.
    idle: Mutex<Vec<Connection>>,
}

impl Relay {
    async fn send(&self, path: &str, place: u64, body: Bytes) -> io::Result<StatusCode> {
        let uri: Uri = format!("{path}/{place}").parse().map_err(io::Error::other)?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => Connection::open(self.to).await?,
        };
        let (status, _) = connection.post(uri, headers, body).await?;
        self.idle.lock().push(connection);
        Ok(status)
    }

    /// The connection that was used last, which is the likeliest to stand.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        while let Some(connection) = idle.pop() {
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }
}

async fn pass_on(relay: Arc<Relay>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = match request.into_body().collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            let sends = (0..relay.fan_out).map(|place| relay.send(&path, place, body.clone()));
            match try_join_all(sends).await {
                Ok(answers) if answers.iter().all(StatusCode::is_success) => StatusCode::ACCEPTED,
                _ => StatusCode::BAD_GATEWAY,
            }
        }
        Err(_) => StatusCode::BAD_REQUEST,
    };
    Ok(answer)
}
