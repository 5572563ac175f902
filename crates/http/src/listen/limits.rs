//! What one client may take from the listener, and for how long.

use std::time::Duration;

/// Header fields in an HTTP/1 request before hyper answers 431. It is hyper's own default, kept because any explicit
/// value moves hyper's header table from the stack to the heap for every request. HTTP/2 counts bytes only.
pub const HEADERS_MAX: usize = 100;

/// The smallest [`ListenLimits::head_bytes_max`]: hyper refuses a smaller read buffer.
pub const HEAD_BYTES_FLOOR: u32 = 8 * 1024;

/// Limits of a listener. [`Default`] is right for a server on the open internet; tests make them small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenLimits {
    /// Connections open at once. The caller should leave file descriptors for what else the process opens: half of
    /// what `RLIMIT_NOFILE` allows is a good value. Beyond it, a newcomer takes the place of the connection that has
    /// waited longest for a request.
    pub connections_max: usize,
    /// From the accept, or from the first byte after an idle time, until a request's head is whole. Then the
    /// connection is dropped without an answer: there is no request to answer.
    pub head_read_max: Duration,
    /// Request line and headers together, in bytes; more is 431. At least [`HEAD_BYTES_FLOOR`]. hyper answers 414
    /// only for a target of more than 65,534 bytes, which fits no head of the default size.
    pub head_bytes_max: u32,
    /// How long a connection may stay open between requests. Longer than the idle time of common clients' pools and
    /// of load balancers (60 s), so that it is they who close, and no request crosses a close on the wire.
    pub keep_alive_idle_max: Duration,
    /// How long requests may be in flight without one of them ending: it ends slow readers of streamed answers, and
    /// handlers that never answer. Longer than the slowest route (a test send of 60 s) and a whole body's time. An
    /// answer of one frame is in hyper's hands at once and so has ended; who does not read it counts as idle.
    pub exchange_stall_max: Duration,
    /// Requests that a client may cancel on one connection before it is told to open another (GOAWAY). At twice as
    /// many the connection is dropped. It bounds the handlers started by a rapid reset too slow for h2 to notice.
    pub cancelled_max: usize,
    /// Bytes that may arrive while no request is in flight: a flood of control frames (SETTINGS, PING, PRIORITY)
    /// costs no request and would otherwise be limited by the idle time only. It must exceed the connection's window,
    /// as the rest of a refused body comes after its request has ended.
    pub unasked_bytes_max: usize,
    /// The rest of HTTP/2.
    pub http2: Http2Limits,
}

impl Default for ListenLimits {
    fn default() -> Self {
        ListenLimits {
            connections_max: 8_192,
            head_read_max: Duration::from_secs(10),
            head_bytes_max: 64 * 1024,
            keep_alive_idle_max: Duration::from_secs(75),
            exchange_stall_max: Duration::from_secs(120),
            cancelled_max: 100,
            unasked_bytes_max: 1024 * 1024,
            http2: Http2Limits::default(),
        }
    }
}

/// Limits of an HTTP/2 connection, set against the floods known by CVE.
///
/// What needs no setting: h2 ends a connection after 100 empty DATA frames, bounds CONTINUATION frames by the header
/// list's size, and stops reading while its acknowledgements of SETTINGS and PING cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Limits {
    /// Streams open at once (`SETTINGS_MAX_CONCURRENT_STREAMS`); 100 is the least that RFC 9113 recommends.
    pub streams_max: u32,
    /// Streams reset by the client before they were accepted; one more is GOAWAY (rapid reset, CVE-2023-44487).
    pub pending_resets_max: usize,
    /// Streams reset by us for the client's protocol errors over a connection's life; one more is GOAWAY
    /// (RUSTSEC-2024-0003). Streams opened beyond `streams_max` count, and an eager client may open some before it
    /// has read our settings.
    pub error_resets_max: usize,
    /// Largest frame accepted, in bytes; 16 KiB is the least that RFC 9113 permits.
    pub frame_bytes_max: u32,
    /// Bytes of one stream's body that may be on the way unread.
    pub stream_window_bytes: u32,
    /// Bytes of all streams' bodies that may be on the way unread: what one connection can make us hold
    /// beside the bodies that its handlers are reading.
    pub connection_window_bytes: u32,
    /// Bytes of one answer buffered while the client does not read it.
    pub send_buffer_bytes_max: usize,
    /// Silence before a PING asks whether the client is there.
    pub ping_interval: Duration,
    /// How long the client may take to answer that PING.
    pub ping_timeout: Duration,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Http2Limits {
            streams_max: 100,
            pending_resets_max: 20,
            error_resets_max: 256,
            frame_bytes_max: 16 * 1024,
            stream_window_bytes: 256 * 1024,
            connection_window_bytes: 512 * 1024,
            send_buffer_bytes_max: 64 * 1024,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
        }
    }
}
