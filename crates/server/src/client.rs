//! A small HTTP client for the commands that call a server of their own, `bench` and `demo`.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::failure::Failure;

/// One kept-alive connection, for one request at a time.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

impl Connection {
    /// Connects, without a limit of time: the servers called are on this machine.
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // It ends with its sender; why it ended is told to the request that was under way.
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: HeaderValue::try_from(to.to_string()).map_err(io::Error::other)?,
        })
    }

    /// Does the connection still stand, as far as is known?
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Posts a body and reads the answer whole.
    pub(crate) async fn post(
        &mut self,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> io::Result<(StatusCode, Bytes)> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        self.send(request).await
    }

    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> io::Result<(StatusCode, Bytes)> {
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.ready().await.map_err(io::Error::other)?;
        let answer = self
            .sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(io::Error::other)?;
        Ok((status, body.to_bytes()))
    }
}

/// The headers of a request with a JSON body and a key.
pub(crate) fn json_headers(key: &str) -> Result<HeaderMap, Failure> {
    let mut authorization = HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|error| Failure::Failed(format!("the key cannot stand in a header: {error}")))?;
    authorization.set_sensitive(true);
    Ok(HeaderMap::from_iter([
        (AUTHORIZATION, authorization),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ]))
}

/// A server's API, as its owner calls it.
pub(crate) struct Api {
    connection: Connection,
    headers: HeaderMap,
}

impl Api {
    /// Connects, to act with `key`.
    pub(crate) async fn open(address: SocketAddr, key: &str) -> Result<Self, Failure> {
        let connection = Connection::open(address)
            .await
            .map_err(|error| Failure::Failed(format!("cannot connect to http://{address}: {error}")))?;
        Ok(Self {
            connection,
            headers: json_headers(key)?,
        })
    }

    /// The JSON that `GET path` answers; anything but 2xx is an error that quotes the answer.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// The JSON that `POST path` answers; anything but 2xx is an error that quotes the answer.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, body.to_string().into()).await
    }

    /// The JSON that `PATCH path` answers; anything but 2xx is an error that quotes the answer.
    pub(crate) async fn patch(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::PATCH, path, body.to_string().into()).await
    }

    /// Calls `DELETE path`; anything but 2xx is an error that quotes the answer.
    pub(crate) async fn delete(&mut self, path: &str) -> Result<(), Failure> {
        self.answer(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    async fn call(&mut self, method: Method, path: &str, body: Bytes) -> Result<Value, Failure> {
        let answer = self.answer(method.clone(), path, body).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| Failure::Failed(format!("{method} {path} of the server's API: {error}")))
    }

    async fn answer(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
        let failed = |why: &dyn std::fmt::Display| {
            Failure::Failed(format!("{method} {path} of the server's API: {why}"))
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = path.parse().map_err(|error| failed(&error))?;
        *request.headers_mut() = self.headers.clone();
        let (status, answer) = self
            .connection
            .send(request)
            .await
            .map_err(|error| failed(&error))?;
        if !status.is_success() {
            let answer = String::from_utf8_lossy(&answer);
            return Err(failed(&format_args!("it answered {status}: {answer}")));
        }
        Ok(answer)
    }
}

/// The text of a field of an answer of the API.
pub(crate) fn text<'a>(answer: &'a Value, field: &str) -> Result<&'a str, Failure> {
    answer
        .get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| Failure::Failed(format!("the server's answer has no `{field}`: {answer}")))
}
