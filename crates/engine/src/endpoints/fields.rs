//! What a caller says about an endpoint, new or known, and the rules of every field.

use crate::error::{Check, Error, Result};
use crate::filter::Filter;
use crate::tenants::check_metadata;
use std::mem;
use stentor_domain::Timestamp;
use stentor_domain::address::AllowList;
use stentor_domain::channels::Channels;
use stentor_domain::contract::{Contract, Defaults};
use stentor_domain::custom_headers::{CustomHeaders, MASK};
use stentor_domain::endpoint::{EndpointSettings, Status, Switch};
use stentor_domain::endpoint_url::EndpointUrl;
use stentor_domain::header_styles::HeaderStyles;
use stentor_domain::id::EndpointId;
use stentor_domain::limits::{
    DESCRIPTION_CHARACTERS_MAX, IN_FLIGHT_SET_BY_OWNER_MAX, NAME_CHARACTERS_MAX, RATE_LIMIT_SET_BY_OWNER_MAX,
    TIMEOUT_SECONDS_MAX,
};
use stentor_domain::name::{Invalid, check_name, check_uid};
use stentor_domain::payload_format::PayloadFormat;
use stentor_domain::schedule::{Anchor, Schedule};
use stentor_domain::secret::Secret;
use stentor_domain::signature_prefix::SignaturePrefix;
use stentor_domain::subscription::{Subscription, Types};

/// What a caller says about an endpoint. `None` leaves alone (of a new one: the default); where there is an inner `None`,
/// it clears. Numbers are as wide as callers may send them, so that one out of bounds is a fault among others.
#[derive(Clone, Default)]
pub struct EndpointFields {
    /// Its display name.
    pub name: Option<String>,
    /// Where it is.
    pub url: Option<String>,
    /// Its only secret from now on.
    pub secret: Option<String>,
    /// Custom headers, all of them: names and values. A value of `***` is the stored one.
    pub custom_headers: Option<Vec<(String, String)>>,
    /// The deadline of one exchange.
    pub timeout_seconds: Option<i64>,
    /// Which event types it wants.
    pub events: Option<Vec<String>>,
    /// Which channels it wants.
    pub channels: Option<Option<Vec<String>>>,
    /// What it asks of payloads: a JSON object as text.
    pub filter: Option<Option<String>>,
    /// The owner's own id for it.
    pub uid: Option<Option<String>>,
    /// What it is for.
    pub description: Option<Option<String>>,
    /// Notes about it: a JSON object as text.
    pub metadata: Option<Option<String>>,
    /// The waits between attempts, in seconds.
    pub retry_schedule: Option<Vec<i64>>,
    /// Where the waits start: `previous` or `first`.
    pub retry_anchor: Option<String>,
    /// How its deliveries are signed.
    pub header_styles: Option<Vec<String>>,
    /// What its deliveries' bodies look like.
    pub payload_format: Option<String>,
    /// The most requests at once.
    pub max_in_flight: Option<Option<i64>>,
    /// The most requests that start in any second.
    pub rate_limit: Option<Option<i64>>,
    /// One after the other, in the order of acceptance?
    pub ordered: Option<bool>,
    /// `ACTIVE` or `PAUSED`.
    pub status: Option<String>,
    /// A contract's switch.
    pub switch: Option<Switch>,
    /// Must the event types be registered? (Contract subscriptions.)
    pub only_registered: bool,
    /// What its reader found wrong, to be refused together with what is found here.
    pub misread: Vec<Invalid>,
}

/// Fields that keep the rules.
pub(super) struct Checked {
    name: Option<String>,
    url: Option<EndpointUrl>,
    pub(super) secret: Option<Secret>,
    custom_headers: Option<CustomHeaders>,
    timeout_seconds: Option<u16>,
    pub(super) types: Option<Types>,
    pub(super) channels: Option<Option<Channels>>,
    filter: Option<Option<String>>,
    uid: Option<Option<String>>,
    description: Option<Option<String>>,
    metadata: Option<Option<String>>,
    schedule: Option<Schedule>,
    anchor: Option<Anchor>,
    header_styles: Option<HeaderStyles>,
    payload_format: Option<PayloadFormat>,
    max_in_flight: Option<Option<u16>>,
    rate_limit: Option<Option<u16>>,
    ordered: Option<bool>,
    status: Option<NewStatus>,
    switch: Option<Switch>,
}

/// What an owner makes of an endpoint's status.
#[derive(Clone, Copy)]
enum NewStatus {
    Active,
    Paused,
}

impl EndpointFields {
    /// Checks the fields of a new endpoint, and refuses with all their faults at once. Only contract v1 asks for a name.
    pub(super) fn check_new(mut self, through: Contract, allow: &AllowList) -> Result<Checked> {
        let mut check = Check::knowing(mem::take(&mut self.misread));
        let nameless = through == Contract::V1 && self.name.is_none();
        for (field, absent) in [("name", nameless), ("url", self.url.is_none())] {
            if absent && !check.knows(field) {
                check.take::<(), _>(field, Err("is required"));
            }
        }
        self.check_with(check, allow)
    }

    /// Checks the fields of a change, and refuses with all their faults at once.
    pub(super) fn check_change(mut self, allow: &AllowList) -> Result<Checked> {
        let check = Check::knowing(mem::take(&mut self.misread));
        self.check_with(check, allow)
    }

    fn check_with(self, mut check: Check, allow: &AllowList) -> Result<Checked> {
        let faults = &mut check;
        let checked = Checked {
            name: take(faults, "name", self.name, |name| check_name(&name).map(|()| name)),
            url: self.url.and_then(|url| {
                let parsed = EndpointUrl::parse(&url, allow);
                faults.take_checked(parsed.map_err(|error| Invalid::destination("url", error.to_string())))
            }),
            secret: take(faults, "secret", self.secret, |secret| {
                Secret::parse(&secret).map_err(|error| error.to_string())
            }),
            custom_headers: self.custom_headers.and_then(|pairs| take_headers(faults, pairs)),
            timeout_seconds: take(faults, "timeout_seconds", self.timeout_seconds, |seconds| {
                bounded(seconds, TIMEOUT_SECONDS_MAX, " seconds")
            }),
            types: self
                .events
                .and_then(|events| faults.take_item("events", Types::parse(&events))),
            channels: self
                .channels
                .map(|channels| faults.take_item("channels", check_channels(&channels?))),
            filter: self
                .filter
                .map(|filter| faults.take_checked(check_filter(filter?))),
            uid: take_clearing(faults, "uid", self.uid, |uid| {
                check_uid(&uid, EndpointId::PREFIX).map(|()| uid)
            }),
            description: take_clearing(faults, "description", self.description, check_description)
                .map(|description| description.filter(|text| !text.is_empty())),
            metadata: take_clearing(faults, "metadata", self.metadata, |text| {
                check_metadata(&text).map(|()| text)
            }),
            schedule: self.retry_schedule.and_then(|waits| {
                // No schedule has a wait of zero, so that whatever no `u32` holds is refused as that would be.
                let waits = waits.into_iter().map(|wait| u32::try_from(wait).unwrap_or(0));
                faults.take_item("retry_schedule", Schedule::new(waits.collect()))
            }),
            anchor: take(faults, "retry_anchor", self.retry_anchor, |word| {
                Anchor::parse(&word).ok_or("must be previous or first")
            }),
            header_styles: self
                .header_styles
                .and_then(|words| faults.take_item("header_styles", HeaderStyles::parse(&words))),
            payload_format: take(faults, "payload_format", self.payload_format, |word| {
                PayloadFormat::parse(&word)
            }),
            max_in_flight: take_clearing(faults, "max_in_flight", self.max_in_flight, |most| {
                bounded(most, IN_FLIGHT_SET_BY_OWNER_MAX, "")
            }),
            rate_limit: take_clearing(faults, "rate_limit", self.rate_limit, |most| {
                bounded(most, RATE_LIMIT_SET_BY_OWNER_MAX, " a second")
            }),
            ordered: self.ordered,
            status: take(faults, "status", self.status, |word| new_status(&word)),
            switch: self.switch,
        };
        check.done()?;
        Ok(checked)
    }
}

impl Checked {
    /// Refuses styles of which two sign in the same header in a project with this prefix.
    pub(super) fn check_in_project(&self, prefix: &SignaturePrefix) -> Result<()> {
        match &self.header_styles {
            None => Ok(()),
            Some(styles) => {
                (styles.check_in_project(prefix)).map_err(|rule| Error::invalid("header_styles", rule))
            }
        }
    }

    /// What the fields of a new endpoint make of it, and the secret that they give it.
    pub(super) fn made_of_nothing(
        mut self,
        defaults: Defaults,
        payload_format: PayloadFormat,
    ) -> Result<(EndpointSettings, Option<Secret>)> {
        let Some(url) = self.url.take() else {
            return Err(Error::invalid("url", "is required"));
        };
        let name = self.name.take();
        let name =
            name.unwrap_or_else(|| name_of(self.description.as_ref().and_then(Option::as_deref), &url));
        let of_key_pair = self
            .secret
            .as_ref()
            .is_some_and(|secret| secret.public_key().is_some());
        let mut settings = EndpointSettings {
            uid: None,
            name,
            description: None,
            url,
            subscription: Subscription::all(),
            filter: None,
            custom_headers: CustomHeaders::default(),
            timeout_seconds: defaults.timeout_seconds,
            schedule: defaults.schedule,
            anchor: defaults.anchor,
            header_styles: if of_key_pair {
                defaults.header_styles.without_hmac()
            } else {
                defaults.header_styles
            },
            payload_format,
            max_in_flight: None,
            rate_limit: None,
            ordered: false,
            metadata: None,
        };
        let secret = self.secret.take();
        self.apply_settings(&mut settings)
            .map_err(|fault| Error::Invalid(vec![fault]))?;
        Ok((settings, secret))
    }

    /// Changes an endpoint at `at`. The secret is not among its settings.
    pub(super) fn apply(
        self,
        settings: &mut EndpointSettings,
        status: &mut Status,
        at: Timestamp,
    ) -> Result<(), Invalid> {
        *status = match (self.status, self.switch) {
            (None, None) => *status,
            (Some(NewStatus::Active), _) => Status::Active,
            (Some(NewStatus::Paused), _) => status.pause(at),
            (None, Some(switch)) => status.switched(switch),
        };
        self.apply_settings(settings)
    }

    fn apply_settings(self, settings: &mut EndpointSettings) -> Result<(), Invalid> {
        if let Some(sent) = self.custom_headers {
            settings.custom_headers = unmasked(sent, &settings.custom_headers)?;
        }
        put(&mut settings.name, self.name);
        put(&mut settings.url, self.url);
        put(&mut settings.timeout_seconds, self.timeout_seconds);
        put(&mut settings.subscription.types, self.types);
        put(
            &mut settings.subscription.channels,
            self.channels.map(Option::unwrap_or_default),
        );
        put(&mut settings.filter, self.filter);
        put(&mut settings.uid, self.uid);
        put(&mut settings.description, self.description);
        put(&mut settings.metadata, self.metadata);
        put(&mut settings.schedule, self.schedule);
        put(&mut settings.anchor, self.anchor);
        put(&mut settings.header_styles, self.header_styles);
        put(&mut settings.payload_format, self.payload_format);
        put(&mut settings.max_in_flight, self.max_in_flight);
        put(&mut settings.rate_limit, self.rate_limit);
        put(&mut settings.ordered, self.ordered);
        settings.check_headers()
    }
}

/// The name of an endpoint whose maker gave none: its description as far as it fits, else its host.
fn name_of(description: Option<&str>, url: &EndpointUrl) -> String {
    let printable = |text: &str| -> String {
        let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let cut: String = one_line.take(NAME_CHARACTERS_MAX).collect();
        cut.trim().to_owned()
    };
    let described = description.map(printable).filter(|name| !name.is_empty());
    described.unwrap_or_else(|| printable(&url.host().to_string()))
}

fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Checks a field, if it is there; `None` where it was at fault, as if it had not been sent.
fn take<T, U, R: Into<String>>(
    faults: &mut Check,
    field: &str,
    value: Option<T>,
    rule: impl FnOnce(T) -> Result<U, R>,
) -> Option<U> {
    value.and_then(|value| faults.take(field, rule(value)))
}

/// The same for a field that can be cleared.
fn take_clearing<T, U, R: Into<String>>(
    faults: &mut Check,
    field: &str,
    value: Option<Option<T>>,
    rule: impl FnOnce(T) -> Result<U, R>,
) -> Option<Option<U>> {
    value.map(|value| take(faults, field, value, rule))
}

fn bounded(number: i64, most: u16, unit: &str) -> Result<u16, String> {
    u16::try_from(number)
        .ok()
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| format!("must be 1 to {most}{unit}"))
}

/// An endpoint wants all events, or those of some channels: no channel at all could be meant either way.
fn check_channels(texts: &[String]) -> Result<Channels, (Option<usize>, String)> {
    if texts.is_empty() {
        return Err((None, "must name at least one channel; null is all events".into()));
    }
    Channels::parse(texts)
}

fn check_filter(text: String) -> Result<String, Invalid> {
    Filter::parse(&text).map(|_| text)
}

fn check_description(text: String) -> Result<String, String> {
    if text.chars().count() > DESCRIPTION_CHARACTERS_MAX {
        return Err(format!("must be at most {DESCRIPTION_CHARACTERS_MAX} characters"));
    }
    // Not every database can store it.
    if text.contains('\0') {
        return Err("must not contain the character U+0000".into());
    }
    Ok(text)
}

fn new_status(word: &str) -> Result<NewStatus, &'static str> {
    match word {
        "ACTIVE" => Ok(NewStatus::Active),
        "PAUSED" => Ok(NewStatus::Paused),
        "DISABLED" => Err("cannot be set to DISABLED; set PAUSED to hold deliveries, or delete the endpoint"),
        _ => Err("must be ACTIVE or PAUSED"),
    }
}

fn take_headers(faults: &mut Check, pairs: Vec<(String, String)>) -> Option<CustomHeaders> {
    match CustomHeaders::new(pairs) {
        Ok(headers) => Some(headers),
        Err(fault) => {
            let fault = headers_fault(fault);
            faults.take(&fault.field, Err(fault.rule))
        }
    }
}

fn headers_fault((name, rule): (String, String)) -> Invalid {
    if name.is_empty() {
        Invalid::new("headers_json", rule)
    } else {
        Invalid::new(name, rule).within("headers_json")
    }
}

/// Puts back the stored values of those that were sent masked. A mask over nothing is refused: whoever copies an endpoint
/// would send asterisks where a credential was. The sizes are checked anew, as stored values are longer than masks.
fn unmasked(sent: CustomHeaders, stored: &CustomHeaders) -> Result<CustomHeaders, Invalid> {
    let known = |name: &str| {
        stored
            .pairs()
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let over_nothing = sent
        .pairs()
        .iter()
        .find(|(name, value)| value == MASK && !known(name));
    if let Some((name, _)) = over_nothing {
        let rule = "is masked, but no value is stored under this name; send the value itself";
        return Err(headers_fault((name.clone(), rule.into())));
    }
    CustomHeaders::new(sent.unmasked(stored).pairs().to_vec()).map_err(headers_fault)
}
