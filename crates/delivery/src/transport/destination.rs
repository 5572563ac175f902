//! Where a request goes, and how that is written into it.

use crate::failure::Failure;
use crate::pool::Origin;
use http::header::HOST;
use http::{HeaderValue, Request, Uri};
use std::sync::Arc;
use stentor_domain::attempt::ErrorClass;
use stentor_domain::endpoint_url::EndpointUrl;

/// A URL with what requests to it say of it, which is made once for many. A clone costs a reference count.
#[derive(Clone)]
pub struct Destination(Arc<Parts>);

struct Parts {
    url: EndpointUrl,
    origin: Origin,
    /// `None` for a URL that HTTP has no way to write.
    written: Option<Written>,
}

struct Written {
    /// For HTTP/1.1: path and query, beside the `Host` header.
    origin_form: Uri,
    host: HeaderValue,
    /// For HTTP/2, which is spoken over TLS only.
    absolute: Uri,
}

impl Destination {
    /// The destination that `url` names.
    pub fn new(url: EndpointUrl) -> Self {
        let written = Written::of(&url).ok();
        let origin = Origin::of(&url);
        Self(Arc::new(Parts { url, origin, written }))
    }

    /// Its URL.
    pub fn url(&self) -> &EndpointUrl {
        &self.0.url
    }

    /// Where connections to it lead.
    pub(super) fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// Writes it into a request, in the way of the connection's version of HTTP.
    pub(super) fn direct<B>(&self, request: &mut Request<B>, http2: bool) -> Result<(), Failure> {
        let Some(written) = &self.0.written else {
            let detail = "the URL cannot be written into a request";
            return Err(Failure::new(ErrorClass::Protocol, detail));
        };
        if http2 {
            *request.uri_mut() = written.absolute.clone();
            request.headers_mut().remove(HOST);
        } else {
            *request.uri_mut() = written.origin_form.clone();
            request.headers_mut().insert(HOST, written.host.clone());
        }
        Ok(())
    }
}

impl Written {
    fn of(url: &EndpointUrl) -> Result<Self, http::Error> {
        let origin_form = Uri::builder().path_and_query(url.path_and_query());
        let absolute = Uri::builder()
            .scheme("https")
            .authority(url.authority())
            .path_and_query(url.path_and_query());
        Ok(Self {
            origin_form: origin_form.build()?,
            host: HeaderValue::from_str(url.authority())?,
            absolute: absolute.build()?,
        })
    }
}
