//! Problem documents on the wire.

use std::time::Duration;

use axum::response::IntoResponse as _;
use http::StatusCode;
use http_body_util::BodyExt as _;
use stentor_http::listen::ListenLimits;
use stentor_http::problem::Problem;

use crate::support::*;

#[tokio::test]
async fn an_unknown_path_is_a_problem() {
    let server = start(ListenLimits::default()).await;
    let answer = server
        .ask("GET /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 404);
    assert!(
        answer.contains("content-type: application/problem+json\r\n"),
        "{answer}"
    );
    assert_eq!(document(&answer)["code"], "not_found");
}

#[tokio::test]
async fn a_wrong_method_is_a_problem_that_lists_the_right_ones() {
    let server = start(ListenLimits::default()).await;
    let answer = server
        .ask("DELETE /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 405);
    assert!(answer.contains("allow: GET,HEAD\r\n"), "{answer}");
    assert_eq!(document(&answer)["code"], "method_not_allowed");
}

#[tokio::test]
async fn a_problem_names_every_field_at_fault_and_when_to_come_back() {
    let problem = Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid",
        "Two fields are wrong.",
    )
    .with_error("url", "must be https")
    .with_error("events.3.payload", "is missing")
    .retry_after(Duration::from_millis(1_001));
    let (parts, body) = problem.into_response().into_parts();
    assert_eq!(
        parts.headers["retry-after"], "2",
        "nobody is told to come too early"
    );
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"Two fields are wrong.","#,
            r#""code":"invalid","errors":[{"field":"url","message":"must be https"},"#,
            r#"{"field":"events.3.payload","message":"is missing"}]}"#
        )
    );
}
