//! How an exchange is kept: compact, in one column, since nothing is ever asked of its parts.

use crate::error::{Result, StoreError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::SocketAddr;
use stentor_domain::attempt::{Answer, Exchange, Timing};

/// The layout that is written. Another one gets another first byte.
const LAYOUT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    sent_headers: Cow<'a, str>,
    header_set: Option<i64>,
    address: Option<SocketAddr>,
    /// DNS, connect, TLS, first byte; total.
    micros: ([Option<u32>; 4], u32),
    answer: Option<KeptAnswer<'a>>,
    detail: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct KeptAnswer<'a> {
    headers: Cow<'a, str>,
    body: Cow<'a, [u8]>,
    truncated: bool,
}

pub(crate) fn encode(exchange: &Exchange) -> Result<Vec<u8>> {
    let timing = exchange.timing;
    let kept = Kept {
        sent_headers: Cow::Borrowed(&exchange.sent_headers),
        header_set: exchange.header_set,
        address: exchange.address,
        micros: (
            [
                timing.dns_micros,
                timing.connect_micros,
                timing.tls_micros,
                timing.first_byte_micros,
            ],
            timing.total_micros,
        ),
        answer: exchange.answer.as_ref().map(|answer| KeptAnswer {
            headers: Cow::Borrowed(&answer.headers),
            body: Cow::Borrowed(&answer.body),
            truncated: answer.truncated,
        }),
        detail: exchange.detail.as_deref().map(Cow::Borrowed),
    };
    postcard::to_extend(&kept, vec![LAYOUT]).map_err(|error| StoreError::Unreadable(error.to_string()))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Exchange> {
    let unreadable = || StoreError::Unreadable("an attempt's exchange has an unknown layout".into());
    let (&LAYOUT, kept) = bytes.split_first().ok_or_else(unreadable)? else {
        return Err(unreadable());
    };
    let kept: Kept<'_> = postcard::from_bytes(kept).map_err(|_| unreadable())?;
    let ([dns_micros, connect_micros, tls_micros, first_byte_micros], total_micros) = kept.micros;
    Ok(Exchange {
        sent_headers: kept.sent_headers.into_owned(),
        header_set: kept.header_set,
        address: kept.address,
        timing: Timing {
            dns_micros,
            connect_micros,
            tls_micros,
            first_byte_micros,
            total_micros,
        },
        answer: kept.answer.map(|answer| Answer {
            headers: answer.headers.into_owned(),
            body: Bytes::from(answer.body.into_owned()),
            truncated: answer.truncated,
        }),
        detail: kept.detail.map(Cow::into_owned),
    })
}

/// The same exchange without what came back; `None` where nothing did.
pub(crate) fn without_answer(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let exchange = decode(bytes)?;
    if exchange.answer.is_none() {
        return Ok(None);
    }
    encode(&Exchange {
        answer: None,
        ..exchange
    })
    .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_survives_its_keeping() {
        let full = Exchange {
            sent_headers: "webhook-id: evt_1\n".into(),
            header_set: Some(7),
            address: Some(([127, 0, 0, 1], 80).into()),
            timing: Timing {
                dns_micros: None,
                connect_micros: Some(1),
                total_micros: 9,
                ..Timing::default()
            },
            answer: Some(Answer {
                headers: "a: b\n".into(),
                body: Bytes::from_static(&[0, 159, 255]),
                truncated: true,
            }),
            detail: Some("why".into()),
        };
        for exchange in [full, Exchange::default()] {
            assert_eq!(decode(&encode(&exchange).unwrap()).unwrap(), exchange);
        }
        assert!(decode(&[]).is_err() && decode(&[2, 0]).is_err() && decode(&[1]).is_err());
    }
}
