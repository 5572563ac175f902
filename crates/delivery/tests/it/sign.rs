//! Signatures against the vectors of Standard Webhooks.

use stentor_delivery::sign::Signer;
use stentor_domain::Timestamp;
use stentor_domain::secret::{Secret, SigningSecret};

const SPECIFICATION: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SPECIFICATION_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SPECIFICATION_BODY: &[u8] = br#"{"test": 2432232314}"#;
const SPECIFICATION_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const SENT_AT: Timestamp = Timestamp::from_seconds(1_614_265_330);

fn secret(text: &str, created_at: i64, expires_at: Option<i64>) -> SigningSecret {
    SigningSecret {
        secret: Secret::parse(text).unwrap(),
        created_at: Timestamp::from_seconds(created_at),
        expires_at: expires_at.map(Timestamp::from_seconds),
    }
}

fn sign(secrets: &[SigningSecret]) -> String {
    Signer::new(secrets).sign(SPECIFICATION_ID, SENT_AT, SPECIFICATION_BODY)
}

#[test]
fn the_published_vectors_are_met() {
    assert_eq!(sign(&[secret(SPECIFICATION, 0, None)]), SPECIFICATION_SIGNATURE);

    let signer = Signer::new(&[secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", 0, None)]);
    let signature = signer.sign(
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        Timestamp::from_seconds(1_649_367_553),
        br#"{"email":"test@example.com","username":"test_user"}"#,
    );
    assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
}

#[test]
fn every_valid_secret_signs_and_the_newest_comes_first() {
    let old = secret(SPECIFICATION, 1, Some(SENT_AT.seconds() + 1));
    let new = secret("a secret of plain text", 2, None);
    for secrets in [[old.clone(), new.clone()], [new.clone(), old]] {
        let both = sign(&secrets);
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!(first, sign(std::slice::from_ref(&new)));
        assert_eq!(second, SPECIFICATION_SIGNATURE);
    }
}

#[test]
fn a_secret_stops_signing_at_the_moment_it_expires() {
    let expired = secret(SPECIFICATION, 1, Some(SENT_AT.seconds()));
    assert_eq!(sign(std::slice::from_ref(&expired)), "");
    let new = secret("a secret of plain text", 2, None);
    assert!(!sign(&[new, expired]).contains(' '));
}

#[test]
fn a_signer_shows_no_key() {
    let signer = Signer::new(&[secret(SPECIFICATION, 0, None)]);
    assert_eq!(format!("{signer:?}"), "Signer(1 keys)");
}
