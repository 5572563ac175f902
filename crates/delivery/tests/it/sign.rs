//! Signatures against the vectors of Standard Webhooks.

use stentor_delivery::sign::Signer;
use stentor_domain::Timestamp;
use stentor_domain::secret::{Secret, SigningSecret};

const SPECIFICATION: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SPECIFICATION_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SPECIFICATION_BODY: &[u8] = br#"{"test": 2432232314}"#;
const SPECIFICATION_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const SENT_AT: Timestamp = Timestamp::from_seconds(1_614_265_330);
const PAIR: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PAIR_SIGNATURE: &str =
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

fn secret(text: &str, created_at: i64, expires_at: Option<i64>) -> SigningSecret {
    SigningSecret {
        secret: Secret::parse(text).unwrap(),
        created_at: Timestamp::from_seconds(created_at),
        expires_at: expires_at.map(Timestamp::from_seconds),
    }
}

fn sign(secrets: &[SigningSecret]) -> String {
    Signer::new(secrets).sign(SPECIFICATION_ID, "1614265330", SPECIFICATION_BODY, SENT_AT)
}

#[test]
fn the_published_vectors_are_met() {
    assert_eq!(sign(&[secret(SPECIFICATION, 0, None)]), SPECIFICATION_SIGNATURE);

    let signer = Signer::new(&[secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", 0, None)]);
    let signature = signer.sign(
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        "1649367553",
        br#"{"email":"test@example.com","username":"test_user"}"#,
        Timestamp::from_seconds(1_649_367_553),
    );
    assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");

    assert_eq!(sign(&[secret(PAIR, 0, None)]), PAIR_SIGNATURE);
}

#[test]
fn a_seed_alone_signs_as_the_pair_does() {
    let seed = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";
    assert_eq!(sign(&[secret(seed, 0, None)]), PAIR_SIGNATURE);
}

#[test]
fn secrets_of_both_kinds_sign_together_while_both_are_valid() {
    let ends = |after: i64| Some(SENT_AT.seconds() + after);
    let hmac = |expires_at| secret(SPECIFICATION, 1, expires_at);
    let pair = |expires_at| secret(PAIR, 2, expires_at);
    let both = format!("{PAIR_SIGNATURE} {SPECIFICATION_SIGNATURE}");
    assert_eq!(sign(&[hmac(ends(1)), pair(None)]), both);
    assert_eq!(sign(&[hmac(None), pair(ends(1))]), both);
    assert_eq!(sign(&[hmac(ends(0)), pair(None)]), PAIR_SIGNATURE);
    assert_eq!(sign(&[hmac(None), pair(ends(0))]), SPECIFICATION_SIGNATURE);
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
    let signer = Signer::new(&[secret(SPECIFICATION, 0, None), secret(PAIR, 0, None)]);
    assert_eq!(format!("{signer:?}"), "Signer(2 keys)");
}
