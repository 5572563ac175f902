//! Accepting events: a group of publishes in one statement, which writes what belongs to a publish only where the version of
//! its tenant still holds, and only while this node is a node. The statement is its own transaction, so that a group costs
//! one round trip and one commit; but for a group with deliveries to ordered endpoints, whose places are drawn before.
//!
//! Publishes with keys (a producer's event ids, idempotency keys) are looked up first. What somebody else writes between
//! the look and the deed collides with a unique index; then nothing of the group is written, and it is looked up again.

mod places;

use super::Core;
use super::lane::{Doubts, Lane, Trouble};
use super::session::Session;
use crate::channels::channels_text;
use crate::effects::{Effects, Seat};
use crate::error::Result;
use crate::fresh::Waiting;
use crate::hot::{Accept, Accepted, Claimed, ClaimedEvent, ExistingEvent, KeptAnswer, NewEvent};
use crate::member::Hot;
use crate::tally::Tally;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use stentor_domain::id::{EventId, Id};

/// Hashes of keys.
type Hash = [u8; 16];

/// Rows are locked in the order of their keys: those of `orders` before (see `places`), the tenants so that nobody changes one while its events are being written,
/// the node so that nobody takes over from it meanwhile.
const ACCEPT: &str = "
WITH alive AS (SELECT epoch FROM nodes WHERE epoch = $1 FOR KEY SHARE),
fit AS (
  SELECT n, config_version FROM tenants
  WHERE n = ANY($2::bigint[]) AND deleted_at IS NULL AND EXISTS (SELECT 1 FROM alive) ORDER BY n FOR SHARE),
stale AS (
  SELECT DISTINCT m.member FROM unnest($3::int[], $4::bigint[], $5::bigint[]) AS m (member, tenant, version)
  WHERE (m.tenant, m.version) NOT IN (SELECT n, config_version FROM fit)),
new_events AS (
  INSERT INTO events (n, tag, tenant, type, event_id, occurred_at, payload, deliveries, meta, channels)
  SELECT n, tag, tenant, type, event_id, occurred_at, payload, deliveries, meta, channels
  FROM unnest($6::int[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::bytea[],
              $14::bigint[], $15::text[], $40::text[])
    AS e (member, n, tag, tenant, type, event_id, occurred_at, payload, deliveries, meta, channels)
  WHERE member NOT IN (SELECT member FROM stale)),
new_work AS (
  INSERT INTO work (n, tag, event, endpoint, tenant, shard, attempt, due_at, owner, cause, seq)
  SELECT n, tag, event, endpoint, tenant, shard, 1, due_at, CASE WHEN owned THEN $1 END, cause, seq
  FROM unnest($16::int[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[],
              $23::bigint[], $24::bool[], $25::text[], $41::bigint[])
    AS w (member, n, tag, event, endpoint, tenant, shard, due_at, owned, cause, seq)
  WHERE member NOT IN (SELECT member FROM stale)),
new_tallies AS (
  INSERT INTO tallies (at, body)
  SELECT $44, string_agg(body, '') FROM unnest($42::int[], $43::bytea[]) AS t (member, body)
  WHERE member NOT IN (SELECT member FROM stale) HAVING count(*) > 0),
new_keys AS (
  INSERT INTO event_keys (hash, event, body_hash)
  SELECT hash, event, body_hash
  FROM unnest($26::int[], $27::bytea[], $28::bigint[], $29::bytea[]) AS k (member, hash, event, body_hash)
  WHERE member NOT IN (SELECT member FROM stale)),
new_answers AS (
  INSERT INTO idempotency_keys (hash, body_hash, status, answer, expires_at)
  SELECT hash, body_hash, status, answer, expires_at
  FROM unnest($30::int[], $31::bytea[], $32::bytea[], $33::bigint[], $34::bytea[], $35::bigint[])
    AS a (member, hash, body_hash, status, answer, expires_at)
  WHERE member NOT IN (SELECT member FROM stale)),
new_fanouts AS (
  INSERT INTO fanout (event, tenant, after_endpoint)
  SELECT event, tenant, after_endpoint
  FROM unnest($36::int[], $37::bigint[], $38::bigint[], $39::bigint[]) AS f (member, event, tenant, after_endpoint)
  WHERE member NOT IN (SELECT member FROM stale))
SELECT member FROM stale";

/// Keys whose event has gone with its day name nothing any more.
const FORGET_ORPHANS: &str = "DELETE FROM event_keys k
     WHERE k.hash = ANY($1) AND NOT EXISTS (SELECT 1 FROM events v WHERE v.n = k.event)";
const KNOWN_EVENTS: &str = "SELECT k.hash, k.body_hash, v.n, v.tag, v.deliveries
     FROM event_keys k LEFT JOIN events v ON v.n = k.event WHERE k.hash = ANY($1)";
const FORGET_ANSWERS: &str = "DELETE FROM idempotency_keys WHERE hash = ANY($1) AND expires_at <= $2";
const KNOWN_ANSWERS: &str =
    "SELECT hash, body_hash, status, answer FROM idempotency_keys WHERE hash = ANY($1)";
const READ_BACK: &str = "SELECT n FROM work WHERE n = ANY($1) AND owner = $2";

/// What the keys of a group are known for.
#[derive(Default)]
struct Known {
    events: HashMap<Hash, (ExistingEvent, Hash)>,
    answers: HashMap<Hash, (Hash, u16, Vec<u8>)>,
}

/// What a publish comes to, as far as its keys decide.
enum Plan {
    /// Nothing is written: this is the answer.
    Answer(Accepted),
    /// All is written but what is there already, by place.
    Write(Vec<(usize, ExistingEvent)>),
    /// Another member of the group has one of its keys: it must see what becomes of that one.
    Later,
}

/// Writes what the members ask for, as far as it is to be written, and prepares their answers; tells what follows.
pub(crate) async fn write(
    core: &Arc<Core>,
    lane: &Lane,
    session: &mut Session,
    members: &mut Vec<Hot>,
    doubts: &mut Doubts,
) -> Result<Effects, Trouble> {
    // What an earlier try has left behind is not written.
    doubts.accepted.clear();
    let known = look_up(session, members).await?;
    let mut rows = Rows::default();
    let mut plans = Vec::with_capacity(members.len());
    let mut later = Vec::new();
    let mut keys = HashSet::new();
    for member in std::mem::take(members) {
        let Hot::Accept(accept, reply) = member else {
            continue;
        };
        let place = i32::try_from(plans.len()).unwrap_or(i32::MAX);
        match plan(&accept, &known, &mut keys) {
            Plan::Later => {
                later.push(Hot::Accept(accept, reply));
                continue;
            }
            Plan::Answer(answer) => plans.push(answer),
            Plan::Write(existing) => {
                rows.add(core, place, &accept, &existing, &mut doubts.accepted);
                plans.push(Accepted::Written { existing });
            }
        }
        members.push(Hot::Accept(accept, reply));
    }
    lane.put_back(later);
    let stale = if rows.needs.member.is_empty() {
        HashSet::new()
    } else {
        rows.write(core, session).await?
    };
    // Committed, and from here on nothing can fail or be interrupted.
    for (place, (member, answer)) in members.iter_mut().zip(plans).enumerate() {
        if let Hot::Accept(_, reply) = member {
            let is_stale = i32::try_from(place).is_ok_and(|place| stale.contains(&place));
            reply.answer = Some(if is_stale { Accepted::Stale } else { answer });
        }
    }
    Ok(Effects {
        claimed: written(std::mem::take(&mut doubts.accepted), &stale),
        waiting: written(rows.waiting, &stale),
        ..Effects::default()
    })
}

/// What a member brings, with the place of the member in its group.
pub(crate) type Placed<T> = (i32, T);

/// What the members bring that were written.
fn written<T>(brought: Vec<Placed<T>>, stale: &HashSet<i32>) -> Vec<T> {
    let written = brought.into_iter().filter(|(place, _)| !stale.contains(place));
    written.map(|(_, brought)| brought).collect()
}

/// Which of these deliveries are there, and this node's.
pub(crate) async fn read_back(core: &Core, session: &mut Session, keys: Vec<i64>) -> Result<HashSet<i64>> {
    let statement = session.prepared(READ_BACK).await?;
    let rows = session.client().query(&statement, &[&keys, &core.epoch]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

async fn look_up(session: &mut Session, members: &[Hot]) -> Result<Known, Trouble> {
    let accepts = || {
        members.iter().filter_map(|member| match member {
            Hot::Accept(accept, _) => Some(accept),
            _ => None,
        })
    };
    let ids: Vec<&[u8]> = accepts()
        .flat_map(|accept| &accept.events)
        .filter_map(|event| event.event_id.as_ref())
        .map(|key| &key.hash[..])
        .collect();
    let once: Vec<&[u8]> = accepts()
        .filter_map(|accept| accept.once.as_ref())
        .map(|once| &once.hash[..])
        .collect();
    let mut known = Known::default();
    if !ids.is_empty() {
        known.events = look_up_events(session, &ids).await?;
    }
    if !once.is_empty() {
        let now = accepts()
            .flat_map(|accept| &accept.events)
            .map(|event| event.accepted_at.micros())
            .min();
        known.answers = look_up_answers(session, &once, now.unwrap_or(0)).await?;
    }
    Ok(known)
}

async fn look_up_events(
    session: &mut Session,
    hashes: &[&[u8]],
) -> Result<HashMap<Hash, (ExistingEvent, Hash)>, Trouble> {
    let statement = session.prepared(KNOWN_EVENTS).await?;
    let rows = session.client().query(&statement, &[&hashes]).await?;
    let mut known = HashMap::new();
    let mut orphans: Vec<Vec<u8>> = Vec::new();
    for row in &rows {
        let (hash, body_hash): (&[u8], &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        let Some(n) = row.try_get::<_, Option<i64>>(2)? else {
            orphans.push(hash.to_vec());
            continue;
        };
        let existing = ExistingEvent {
            id: EventId(Id {
                n,
                tag: row.try_get(3)?,
            }),
            matched: u32::try_from(row.try_get::<_, i64>(4)?).unwrap_or(u32::MAX),
        };
        known.insert(sixteen(hash), (existing, sixteen(body_hash)));
    }
    if !orphans.is_empty() {
        let statement = session.prepared(FORGET_ORPHANS).await?;
        session.client().execute(&statement, &[&orphans]).await?;
    }
    Ok(known)
}

async fn look_up_answers(
    session: &mut Session,
    hashes: &[&[u8]],
    now: i64,
) -> Result<HashMap<Hash, (Hash, u16, Vec<u8>)>, Trouble> {
    let forget = session.prepared(FORGET_ANSWERS).await?;
    let look = session.prepared(KNOWN_ANSWERS).await?;
    session.client().execute(&forget, &[&hashes, &now]).await?;
    let rows = session.client().query(&look, &[&hashes]).await?;
    let mut known = HashMap::new();
    for row in &rows {
        let (hash, body_hash): (&[u8], &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        let status = u16::try_from(row.try_get::<_, i64>(2)?).unwrap_or(200);
        known.insert(sixteen(hash), (sixteen(body_hash), status, row.try_get(3)?));
    }
    Ok(known)
}

/// A stored hash; one of another length, which nobody writes, is like no other.
fn sixteen(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap_or_default()
}

/// Judges a publish by its keys, as if it were alone; `taken` holds those of the members before it.
fn plan(accept: &Accept, known: &Known, taken: &mut HashSet<Hash>) -> Plan {
    let mut own: HashMap<Hash, (ExistingEvent, Hash)> = HashMap::new();
    if let Some(once) = &accept.once {
        if let Some((body_hash, status, answer)) = known.answers.get(&once.hash) {
            return Plan::Answer(if *body_hash == once.body_hash {
                Accepted::Repeated {
                    status: *status,
                    answer: answer.clone().into(),
                }
            } else {
                Accepted::OnceConflict
            });
        }
        if taken.contains(&once.hash) {
            return Plan::Later;
        }
    }
    let mut existing = Vec::new();
    for (place, event) in accept.events.iter().enumerate() {
        let Some(key) = &event.event_id else { continue };
        if taken.contains(&key.hash) {
            return Plan::Later;
        }
        // The same id twice within one request is judged the same way.
        match known.events.get(&key.hash).or_else(|| own.get(&key.hash)) {
            Some((_, body_hash)) if *body_hash != key.body_hash => {
                return Plan::Answer(Accepted::EventIdConflict(place));
            }
            Some((there, _)) => existing.push((place, *there)),
            None => {
                let this = ExistingEvent {
                    id: event.id,
                    matched: event.matched,
                };
                own.insert(key.hash, (this, key.body_hash));
            }
        }
    }
    if accept.once.is_some() && existing != accept.known {
        return Plan::Answer(Accepted::Known { existing });
    }
    taken.extend(accept.once.as_ref().map(|once| once.hash));
    taken.extend(own.into_keys());
    Plan::Write(existing)
}

/// The rows of a group, by column. They borrow nothing: the group is sent while its members are kept.
#[derive(Default)]
struct Rows {
    /// To be told to the dispatcher.
    waiting: Vec<Placed<Waiting>>,
    tenants: Vec<i64>,
    needs: Needs,
    events: Events,
    work: Work,
    keys: Keys,
    answers: Answers,
    fanouts: Fanouts,
    tallies: Tallies,
}

#[derive(Default)]
struct Needs {
    member: Vec<i32>,
    tenant: Vec<i64>,
    version: Vec<i64>,
}

#[derive(Default)]
struct Events {
    member: Vec<i32>,
    n: Vec<i64>,
    tag: Vec<i64>,
    tenant: Vec<i64>,
    event_type: Vec<String>,
    event_id: Vec<Option<String>>,
    occurred_at: Vec<Option<i64>>,
    payload: Vec<Payload>,
    deliveries: Vec<i64>,
    meta: Vec<Option<String>>,
    channels: Vec<Option<String>>,
}

#[derive(Default)]
struct Work {
    member: Vec<i32>,
    n: Vec<i64>,
    tag: Vec<i64>,
    event: Vec<i64>,
    endpoint: Vec<i64>,
    tenant: Vec<i64>,
    shard: Vec<i64>,
    due_at: Vec<i64>,
    owned: Vec<bool>,
    cause: Vec<&'static str>,
    seq: Vec<Option<i64>>,
    /// The rows that get a place in the order of their endpoints.
    ordered: BTreeMap<i64, Vec<usize>>,
}

#[derive(Default)]
struct Keys {
    member: Vec<i32>,
    hash: Vec<Vec<u8>>,
    event: Vec<i64>,
    body_hash: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Answers {
    member: Vec<i32>,
    hash: Vec<Vec<u8>>,
    body_hash: Vec<Vec<u8>>,
    status: Vec<i64>,
    answer: Vec<Payload>,
    expires_at: Vec<i64>,
}

#[derive(Default)]
struct Fanouts {
    member: Vec<i32>,
    event: Vec<i64>,
    tenant: Vec<i64>,
    after_endpoint: Vec<i64>,
}

/// What each event changes of the counts.
#[derive(Default)]
struct Tallies {
    member: Vec<i32>,
    body: Vec<Vec<u8>>,
}

/// Shared bytes as a parameter, without a copy before the one into the message.
#[derive(Debug)]
struct Payload(bytes::Bytes);

impl tokio_postgres::types::ToSql for Payload {
    fn to_sql(
        &self,
        kind: &tokio_postgres::types::Type,
        out: &mut bytes::BytesMut,
    ) -> std::result::Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        (&self.0[..]).to_sql(kind, out)
    }

    fn accepts(kind: &tokio_postgres::types::Type) -> bool {
        <&[u8] as tokio_postgres::types::ToSql>::accepts(kind)
    }

    tokio_postgres::types::to_sql_checked!();
}

impl Rows {
    fn add(
        &mut self,
        core: &Core,
        place: i32,
        accept: &Accept,
        existing: &[(usize, ExistingEvent)],
        claimed: &mut Vec<Placed<Claimed>>,
    ) {
        for event in &accept.events {
            self.need(place, event.tenant.n(), event.tenant_version);
        }
        for (at, event) in accept.events.iter().enumerate() {
            if existing.binary_search_by_key(&at, |(known, _)| *known).is_err() {
                self.add_event(place, event);
                self.add_deliveries(core, place, event, claimed);
                self.tallies.add(place, event);
            }
        }
        if let Some(once) = &accept.once {
            self.answers.add(place, once);
        }
    }

    fn need(&mut self, place: i32, tenant: i64, version: i64) {
        let needs = &mut self.needs;
        // A batch is of one tenant as a rule.
        let last = (needs.member.last(), needs.tenant.last(), needs.version.last());
        if last == (Some(&place), Some(&tenant), Some(&version)) {
            return;
        }
        needs.member.push(place);
        needs.tenant.push(tenant);
        needs.version.push(version);
        self.tenants.push(tenant);
    }

    fn add_event(&mut self, place: i32, event: &NewEvent) {
        let events = &mut self.events;
        events.member.push(place);
        events.n.push(event.id.n());
        events.tag.push(event.id.0.tag);
        events.tenant.push(event.tenant.n());
        events.event_type.push(event.event_type.as_str().to_owned());
        events
            .event_id
            .push(event.event_id.as_ref().map(|key| key.text.clone()));
        events.occurred_at.push(event.occurred_at.map(|at| at.micros()));
        events.payload.push(Payload(event.payload.clone()));
        events.deliveries.push(i64::from(event.matched));
        events.meta.push(event.meta());
        events.channels.push(channels_text(&event.channels));
        if let Some(key) = &event.event_id {
            self.keys.member.push(place);
            self.keys.hash.push(key.hash.to_vec());
            self.keys.event.push(event.id.n());
            self.keys.body_hash.push(key.body_hash.to_vec());
        }
    }

    fn add_deliveries(
        &mut self,
        core: &Core,
        place: i32,
        event: &NewEvent,
        claimed: &mut Vec<Placed<Claimed>>,
    ) {
        let shared = Arc::new(ClaimedEvent {
            id: event.id,
            tenant: event.tenant.n(),
            event_type: event.event_type.clone(),
            payload: event.payload.clone(),
            occurred_at: event.occurred_at,
            loops: event.loops,
            trace: event.trace.clone(),
        });
        for delivery in &event.deliveries {
            let Seat { room, ordered } = core.outside.seat_for(event, delivery);
            let work = &mut self.work;
            if ordered {
                let rows = work.ordered.entry(delivery.endpoint).or_default();
                rows.push(work.n.len());
            }
            work.seq.push(None);
            work.member.push(place);
            work.n.push(delivery.id.n());
            work.tag.push(delivery.id.0.tag);
            work.event.push(event.id.n());
            work.endpoint.push(delivery.endpoint);
            work.tenant.push(event.tenant.n());
            work.shard.push(i64::from(delivery.shard));
            work.due_at.push(event.accepted_at.micros());
            work.owned.push(room.is_some());
            work.cause.push(event.trigger.as_str());
            match room {
                Some(room) => claimed.push((place, Claimed::first(event, &shared, delivery, room))),
                None => self.waiting.push((
                    place,
                    Waiting {
                        endpoint: delivery.endpoint,
                        shard: delivery.shard,
                        due_at: event.accepted_at,
                    },
                )),
            }
        }
        if let Some(last) = event.last_before_fanout() {
            self.fanouts.member.push(place);
            self.fanouts.event.push(event.id.n());
            self.fanouts.tenant.push(event.tenant.n());
            self.fanouts.after_endpoint.push(last.endpoint);
        }
    }

    /// Writes the group; tells the members whose tenants have moved on, of which nothing was written. Places that were drawn for
    /// these are left out.
    async fn write(&mut self, core: &Core, session: &mut Session) -> Result<HashSet<i32>, Trouble> {
        if self.work.ordered.is_empty() {
            return self.write_all(core, session).await;
        }
        session.client().batch_execute("BEGIN").await?;
        let written = match self.work.draw(session).await {
            Ok(()) => self.write_all(core, session).await,
            Err(trouble) => Err(trouble),
        };
        let end = match &written {
            Ok(_) => "COMMIT",
            Err(Trouble::Lost(_)) => return written,
            Err(_) => "ROLLBACK",
        };
        session.client().batch_execute(end).await?;
        written
    }

    /// In one statement, which is its own transaction where there is none.
    async fn write_all(&mut self, core: &Core, session: &mut Session) -> Result<HashSet<i32>, Trouble> {
        self.tenants.sort_unstable();
        self.tenants.dedup();
        let statement = session.prepared(ACCEPT).await?;
        let Self {
            tenants,
            needs,
            events,
            work,
            keys,
            answers,
            fanouts,
            tallies,
            ..
        } = self;
        let stale = session
            .client()
            .query(
                &statement,
                &[
                    &core.epoch,
                    tenants,
                    &needs.member,
                    &needs.tenant,
                    &needs.version,
                    &events.member,
                    &events.n,
                    &events.tag,
                    &events.tenant,
                    &events.event_type,
                    &events.event_id,
                    &events.occurred_at,
                    &events.payload,
                    &events.deliveries,
                    &events.meta,
                    &work.member,
                    &work.n,
                    &work.tag,
                    &work.event,
                    &work.endpoint,
                    &work.tenant,
                    &work.shard,
                    &work.due_at,
                    &work.owned,
                    &work.cause,
                    &keys.member,
                    &keys.hash,
                    &keys.event,
                    &keys.body_hash,
                    &answers.member,
                    &answers.hash,
                    &answers.body_hash,
                    &answers.status,
                    &answers.answer,
                    &answers.expires_at,
                    &fanouts.member,
                    &fanouts.event,
                    &fanouts.tenant,
                    &fanouts.after_endpoint,
                    &events.channels,
                    &work.seq,
                    &tallies.member,
                    &tallies.body,
                    &core.clock.now().micros(),
                ],
            )
            .await?;
        let stale = stale.iter().map(|row| row.try_get(0));
        Ok(stale.collect::<Result<_, _>>()?)
    }
}

impl Tallies {
    fn add(&mut self, place: i32, event: &NewEvent) {
        let mut tally = Tally::default();
        for delivery in &event.deliveries {
            tally.note_accepted(delivery.endpoint, delivery.id.n(), event.trigger);
        }
        if let Some(body) = tally.into_bytes() {
            self.member.push(place);
            self.body.push(body);
        }
    }
}

impl Answers {
    fn add(&mut self, place: i32, once: &KeptAnswer) {
        self.member.push(place);
        self.hash.push(once.hash.to_vec());
        self.body_hash.push(once.body_hash.to_vec());
        self.status.push(i64::from(once.status));
        self.answer.push(Payload(once.answer.clone()));
        self.expires_at.push(once.expires_at.micros());
    }
}
