//! A small HTTP server for the commands that bring their own receivers, `bench` and `demo`: plain HTTP on this machine,
//! trusting its clients.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::failure::Failure;

/// What the receivers answer: a body that is known whole.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Listens on a free port of the loopback address, as a server does: hundreds connect at once, and the handshake of whoever finds
/// no room takes a second more, or fails.
pub(crate) fn listen() -> Result<(TcpListener, SocketAddr), Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot listen on 127.0.0.1: {error}"));
    let listener = stentor_http::listen::bind((Ipv4Addr::LOCALHOST, 0).into()).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Serves every connection until the future is dropped, which drops the connections, too.
pub(crate) async fn serve<S>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Out of descriptors, or a client that has gone: the next one may fare better.
            Ok((stream, _)) = listener.accept() => {
                // Without it an answer may wait 40 ms for an acknowledgement; nothing else changes.
                let _ = stream.set_nodelay(true);
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                connections.spawn(async move {
                    // Clients break connections off when they end.
                    let _ = connection.await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
