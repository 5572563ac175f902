//! TLS and HTTP/2.

use crate::identity::{NAME, identity};
use crate::world::{AMPLE, Names, PAYLOAD, Receiver, SHORT, Sender, answer, failed, guard, hold};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::CertificateDer;
use std::convert::Infallible;
use std::sync::Arc;
use stentor_delivery::transport::HttpSettings;
use stentor_domain::attempt::{ErrorClass, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;

/// Exchanges at once in the test of multiplexing.
const CROWD: usize = 20;

fn trusting(roots: Vec<CertificateDer<'static>>) -> Sender {
    Sender::with(Names::local(), guard("127.0.0.1", &[]), roots)
}

fn url(receiver: &Receiver, path: &str) -> String {
    format!("https://{NAME}:{}{path}", receiver.address.port())
}

/// Answers over HTTP/2; `/together` only when [`CROWD`] requests are there at the same time, `/never` not at all.
pub(crate) async fn http2_receiver(acceptor: TlsAcceptor) -> Receiver {
    let crowd = Arc::new(Barrier::new(CROWD));
    Receiver::new(move |_, stream| {
        let (acceptor, crowd) = (acceptor.clone(), Arc::clone(&crowd));
        async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| respond(request, Arc::clone(&crowd)));
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

async fn respond(
    request: Request<Incoming>,
    crowd: Arc<Barrier>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.version(), Version::HTTP_2);
    let host = request.uri().host().map(str::to_owned);
    match request.uri().path() {
        "/together" => {
            crowd.wait().await;
        }
        "/never" => std::future::pending().await,
        _ => {}
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!((host.as_deref(), &body[..]), (Some(NAME), PAYLOAD));
    Ok(Response::new(Full::new(Bytes::from_static(b"taken"))))
}

#[tokio::test]
async fn exchanges_share_one_connection_of_http2() {
    let identity = identity(&[b"h2", b"http/1.1"]);
    let receiver = http2_receiver(identity.acceptor).await;
    let sender = trusting(vec![identity.root]);

    let first = sender.send(&url(&receiver, "/")).await;
    assert_eq!(first.outcome, Outcome::Answered(200));
    assert_eq!(answer(&first).body, "taken");
    assert!(!answer(&first).truncated);
    let timing = first.exchange.timing;
    assert!(timing.dns_micros.is_some() && timing.tls_micros.is_some());

    let together = url(&receiver, "/together");
    let crowd = join_all((0..CROWD).map(|_| sender.send(&together))).await;
    for sent in crowd {
        assert_eq!(sent.outcome, Outcome::Answered(200));
        assert_eq!(sent.exchange.address, Some(receiver.address));
    }
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn a_connection_of_http2_whose_exchange_hung_takes_no_more() {
    let identity = identity(&[b"h2"]);
    let receiver = http2_receiver(identity.acceptor).await;
    let sender = trusting(vec![identity.root]);
    let hung = sender.send_within(&url(&receiver, "/never"), SHORT).await;
    assert_eq!(hung.outcome, failed(ErrorClass::Timeout));
    assert_eq!(
        sender.send(&url(&receiver, "/")).await.outcome,
        Outcome::Answered(200)
    );
    assert_eq!(receiver.accepted(), 2);
}

#[tokio::test]
async fn a_receiver_without_http2_is_served_with_http1() {
    for protocols in [&[b"http/1.1".as_slice()][..], &[]] {
        let identity = identity(protocols);
        let receiver = Receiver::new(move |_, stream| {
            let acceptor = identity.acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                let mut request = [0; 1024];
                while stream.read(&mut request).await.is_ok_and(|count| count > 0) {
                    stream.write_all(crate::world::OK).await.unwrap();
                }
            }
        })
        .await;
        let sender = trusting(vec![identity.root]);
        for _ in 0..2 {
            let sent = sender.send(&url(&receiver, "/")).await;
            assert_eq!(sent.outcome, Outcome::Answered(200));
        }
        assert_eq!(receiver.accepted(), 1);
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let identity = identity(&[b"h2"]);
    let receiver = http2_receiver(identity.acceptor).await;
    let sent = trusting(Vec::new()).send(&url(&receiver, "/")).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Tls));
    assert!(sent.exchange.detail.unwrap().contains("UnknownIssuer"));
    assert_eq!(sent.exchange.address, Some(receiver.address));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let identity = identity(&[b"h2"]);
    let receiver = http2_receiver(identity.acceptor).await;
    let sender = trusting(vec![identity.root]);
    for host in ["other.example", "127.0.0.1"] {
        let sent = sender
            .send(&format!("https://{host}:{}/", receiver.address.port()))
            .await;
        assert_eq!(sent.outcome, failed(ErrorClass::Tls), "{host}");
    }
}

#[tokio::test]
async fn rx04_a_handshake_that_makes_no_progress_ends() {
    let silent = Receiver::new(|_, stream| hold(stream)).await;
    let sent = trusting(Vec::new()).send_within(&url(&silent, "/"), SHORT).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Timeout));
    assert!(sent.exchange.timing.tls_micros.is_none());

    let plain = Receiver::new(|_, mut stream| async move {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        hold(stream).await;
    })
    .await;
    let gone = Receiver::new(|_, stream| async move { drop(stream) }).await;
    for receiver in [plain, gone] {
        let sent = trusting(Vec::new())
            .send_within(&url(&receiver, "/"), AMPLE)
            .await;
        assert_eq!(sent.outcome, failed(ErrorClass::Tls));
        assert!(sent.exchange.detail.is_some());
    }
}

#[tokio::test]
async fn rx04_connecting_may_use_a_part_of_the_deadline_only() {
    let silent = Receiver::new(|_, stream| hold(stream)).await;
    let settings = HttpSettings {
        guard: guard("127.0.0.1", &[]),
        connect_timeout: SHORT,
        ..HttpSettings::default()
    };
    let sender = Sender::of(settings, Names::local());
    let sent = sender.send(&url(&silent, "/")).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Tls));
    assert_eq!(
        sent.exchange.detail.as_deref(),
        Some("the handshake did not end within 150 ms")
    );
}
