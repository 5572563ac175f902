//! Claiming what is due, and giving back or ending what will not be sent now.

mod in_order;

use super::Core;
use super::lane::{Doubts, Trouble};
use super::session::Session;
use crate::effects::Effects;
use crate::error::{Result, StoreError};
use crate::hot::{CLAIM_BYTES_MAX, Cancel, Claim, Claimed, ClaimedDue, ClaimedEvent, Release, loops, trace};
use crate::member::{Hot, Reply};
use crate::ordering;
use crate::tally::{Change, Tally};
use crate::tx::Tx;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use stentor_domain::Timestamp;
use stentor_domain::attempt::Trigger;
use stentor_domain::delivery::{Reason, State};
use stentor_domain::id::{DeliveryId, EventId, Id};
use stentor_domain::name::EventTypeName;

/// Takes what is due for each claim, as long as this node is a node; what another transaction holds is left out.
const OWN: &str = "
WITH alive AS (SELECT epoch FROM nodes WHERE epoch = $1 FOR KEY SHARE),
due AS (
  SELECT c.place, d.n
  FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) AS c (place, shard, endpoint, now, most),
       LATERAL (SELECT n FROM work WHERE shard = c.shard AND endpoint = c.endpoint AND owner IS NULL AND due_at <= c.now
                ORDER BY due_at, n LIMIT c.most FOR UPDATE SKIP LOCKED) AS d
  WHERE EXISTS (SELECT 1 FROM alive))
UPDATE work w SET owner = $1 FROM due WHERE w.n = ANY(ARRAY(SELECT n FROM due)) AND w.n = due.n
RETURNING due.place, w.n, w.tag, w.event, w.attempt, w.failed, w.first_at, w.due_at, w.cause,
          (SELECT octet_length(payload) FROM events WHERE events.n = w.event)";
const EVENTS: &str = "
SELECT n, tag, tenant, type, payload, occurred_at, meta FROM events
WHERE n = ANY($1) AND payload IS NOT NULL AND erased_at IS NULL AND n >= (SELECT payloads_below FROM retention WHERE one = 1)
  AND n >= (SELECT content_erased_below FROM tenants WHERE tenants.n = events.tenant)";
const NEXT_DUE: &str = "
SELECT c.place, (SELECT due_at FROM work WHERE shard = c.shard AND endpoint = c.endpoint AND owner IS NULL
                 ORDER BY due_at LIMIT 1)
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS c (place, shard, endpoint)";
/// Gives up what this transaction has claimed.
const DISOWN: &str = "UPDATE work SET owner = NULL WHERE n = ANY($1) AND owner = $2";
/// Gives back what was in memory.
const PUT_BACK: &str = concat!(
    "UPDATE work SET owner = NULL, seq = ",
    ordering::place!(),
    " WHERE n = ANY($1) AND owner = $2"
);

/// Ends what this node owns for a reason. One whose endpoint went with its tenant reads so.
const END: &str = "
WITH gone AS (
  DELETE FROM work w USING unnest($2::bigint[], $3::bigint[], $4::text[]) AS c (n, attempt, reason)
  WHERE w.n = ANY($2) AND w.n = c.n AND w.attempt = c.attempt AND w.owner = $1
  RETURNING w.n, w.tag, w.event, w.endpoint, w.tenant, w.cause, w.attempt, c.reason)
INSERT INTO deliveries (n, tag, event, endpoint, tenant, state, reason, cause, attempts, finished_at)
SELECT n, tag, event, endpoint, tenant, CASE reason WHEN 'test_failed' THEN 'exhausted' ELSE 'cancelled' END,
       CASE WHEN reason = 'endpoint_deleted'
             AND EXISTS (SELECT 1 FROM tenants WHERE tenants.n = gone.tenant AND deleted_at IS NOT NULL)
            THEN 'tenant_deleted' ELSE reason END,
       cause, attempt - 1, $5 FROM gone RETURNING n, endpoint, state, cause = 'test'";

/// What becomes of what is given back: one that somebody wants to end, ends; so does one whose endpoint is deleted, since
/// the sweeper may have been there already, and a test, which is made at once or not at all. The endpoints are locked, so
/// that none is deleted before the rest waits.
const JUDGE: &str = "
WITH there AS (
  SELECT n FROM endpoints
  WHERE n = ANY(ARRAY(SELECT w.endpoint FROM work w WHERE w.n = ANY($2::bigint[]))) AND deleted_at IS NULL ORDER BY n FOR SHARE)
SELECT w.n, w.attempt, CASE WHEN w.cancel_requested = 1 THEN 'requested' WHEN w.cancel_requested = 2 THEN 'payload_expired'
                            WHEN w.endpoint NOT IN (SELECT n FROM there) THEN 'endpoint_deleted'
                            WHEN w.cause = 'test' THEN 'test_failed' END
FROM work w WHERE w.n = ANY($2) AND w.owner = $1 ORDER BY w.n FOR UPDATE OF w";

/// Writes what the members ask for, in one transaction, and prepares their answers; tells what follows.
pub(crate) async fn write(
    core: &Arc<Core>,
    session: &mut Session,
    members: &mut [Hot],
    doubts: &mut Doubts,
) -> Result<Effects, Trouble> {
    doubts.claimed.clear();
    session.client().batch_execute("BEGIN").await?;
    let ended = match write_within(core, session, members, doubts).await {
        Ok(ended) => ended,
        Err(trouble @ Trouble::Lost(_)) => return Err(trouble),
        Err(trouble) => {
            session.client().batch_execute("ROLLBACK").await?;
            doubts.claimed.clear();
            return Err(trouble);
        }
    };
    session.client().batch_execute("COMMIT").await?;
    doubts.claimed.clear();
    Ok(Effects {
        ended,
        ..Effects::default()
    })
}

/// Gives back what may have been claimed for nobody.
pub(crate) async fn disown(core: &Core, session: &mut Session, claimed: &[i64]) -> Result<()> {
    if claimed.is_empty() {
        return Ok(());
    }
    let statement = session.prepared(PUT_BACK).await?;
    session
        .client()
        .execute(&statement, &[&claimed, &core.epoch])
        .await?;
    Ok(())
}

async fn write_within(
    core: &Core,
    session: &mut Session,
    members: &mut [Hot],
    doubts: &mut Doubts,
) -> Result<Vec<i64>, Trouble> {
    let mut releases: Vec<Release> = Vec::new();
    let mut cancels: Vec<Cancel> = Vec::new();
    let mut claims: Vec<(Claim, &mut Reply<ClaimedDue>)> = Vec::new();
    for member in members {
        match member {
            Hot::Claim(claim, reply) => claims.push((*claim, reply)),
            Hot::Release(some, reply) => {
                releases.extend(some.iter());
                reply.answer = Some(());
            }
            Hot::Cancel(cancel, reply) => {
                cancels.push(*cancel);
                reply.answer = Some(());
            }
            Hot::Accept(..) | Hot::Finish(..) => {}
        }
    }
    cancels.extend(give_back(core, session, releases).await?);
    if !core.owns_shards() {
        for (_, reply) in claims.drain(..) {
            reply.answer = Some(ClaimedDue::default());
        }
    }
    if !claims.is_empty() {
        cancels.extend(claim(core, session, claims, doubts).await?);
    }
    end(core, session, cancels).await
}

/// Gives deliveries back: they wait again, due when they were. Tells what has to end instead.
async fn give_back(
    core: &Core,
    session: &mut Session,
    releases: Vec<Release>,
) -> Result<Vec<Cancel>, Trouble> {
    if releases.is_empty() {
        return Ok(Vec::new());
    }
    let attempts: HashMap<i64, u32> = releases
        .iter()
        .map(|release| (release.delivery, release.attempt))
        .collect();
    let keys: Vec<i64> = attempts.keys().copied().collect();
    let judge = session.prepared(JUDGE).await?;
    let put_back = session.prepared(PUT_BACK).await?;
    let rows = session.client().query(&judge, &[&core.epoch, &keys]).await?;
    let mut ends: Vec<Cancel> = Vec::new();
    let mut waits: Vec<i64> = Vec::new();
    for row in &rows {
        let (delivery, attempt): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        // Given back for another attempt, it is not this one's to give.
        let Some(&claimed) = attempts
            .get(&delivery)
            .filter(|&&claimed| i64::from(claimed) == attempt)
        else {
            continue;
        };
        match row.try_get::<_, Option<&str>>(2)? {
            Some(word) => ends.push(Cancel {
                delivery,
                attempt: claimed,
                reason: Reason::parse(word).ok_or_else(|| unknown(word))?,
            }),
            None => waits.push(delivery),
        }
    }
    session
        .client()
        .execute(&put_back, &[&waits, &core.epoch])
        .await?;
    Ok(ends)
}

/// Ends deliveries of this node without an attempt; tells which.
async fn end(core: &Core, session: &mut Session, mut cancels: Vec<Cancel>) -> Result<Vec<i64>, Trouble> {
    if cancels.is_empty() {
        return Ok(Vec::new());
    }
    cancels.sort_unstable_by_key(|cancel| cancel.delivery);
    let keys: Vec<i64> = cancels.iter().map(|cancel| cancel.delivery).collect();
    let attempts: Vec<i64> = cancels.iter().map(|cancel| i64::from(cancel.attempt)).collect();
    let reasons: Vec<&str> = cancels.iter().map(|cancel| cancel.reason.as_str()).collect();
    let statement = session.prepared(END).await?;
    let now = core.clock.now().micros();
    let rows = session
        .client()
        .query(&statement, &[&core.epoch, &keys, &attempts, &reasons, &now])
        .await?;
    let mut ended = Vec::with_capacity(rows.len());
    let mut tally = Tally::default();
    for row in &rows {
        let (delivery, state): (i64, &str) = (row.try_get(0)?, row.try_get(2)?);
        let state = State::parse(state).ok_or_else(|| unknown(state))?;
        if !row.try_get::<_, bool>(3)? {
            tally.note(row.try_get(1)?, delivery, Change::Ended(state));
        }
        ended.push(delivery);
    }
    let mut tx = Tx::Postgres(session);
    let kept = tally.keep(&mut tx, core.clock.now()).await;
    kept.map_err(Trouble::Unable)?;
    Ok(ended)
}

/// A claim and its place in its group.
type Placed = (i32, Claim);

/// A row of `work`, as a claim reads it.
struct Owned {
    place: usize,
    delivery: DeliveryId,
    event: i64,
    attempt: u32,
    failed: u32,
    first_at: Option<Timestamp>,
    due_at: Timestamp,
    trigger: Trigger,
    payload_bytes: Option<usize>,
}

impl Owned {
    fn ended_by(&self, reason: Reason) -> Cancel {
        Cancel {
            delivery: self.delivery.n(),
            attempt: self.attempt,
            reason,
        }
    }

    fn claimed(&self, claim: &Claim, event: &Arc<ClaimedEvent>) -> Claimed {
        Claimed {
            delivery: self.delivery,
            event: Arc::clone(event),
            endpoint: claim.endpoint,
            shard: claim.shard,
            attempt: self.attempt,
            failed: self.failed,
            first_at: self.first_at,
            due_at: self.due_at,
            trigger: self.trigger,
            in_order: claim.in_order,
            room: None,
        }
    }
}

/// Makes this node the owner of what is due, as far as its payloads have room in memory. Tells what has to end because its
/// payload is gone: never an empty body.
async fn claim(
    core: &Core,
    session: &mut Session,
    claims: Vec<(Claim, &mut Reply<ClaimedDue>)>,
    doubts: &mut Doubts,
) -> Result<Vec<Cancel>, Trouble> {
    let placed = claims
        .iter()
        .enumerate()
        .map(|(place, (claim, _))| (i32::try_from(place).unwrap_or(i32::MAX), *claim));
    let (in_order, free): (Vec<Placed>, Vec<Placed>) = placed.partition(|(_, claim)| claim.in_order);
    let mut owned = own(core, session, &free).await?;
    owned.extend(in_order::own(core, session, &in_order).await?);
    doubts.claimed = owned.iter().map(|one| one.delivery.n()).collect();
    // RETURNING promises no order.
    owned.sort_unstable_by_key(|one| (one.place, one.due_at, one.delivery));

    let mut bytes = vec![0_usize; claims.len()];
    let (mut kept, mut too_many, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for one in owned {
        match (one.payload_bytes, bytes.get_mut(one.place)) {
            (None, _) => gone.push((one.place, one.ended_by(Reason::PayloadExpired))),
            (Some(size), Some(taken)) if *taken < CLAIM_BYTES_MAX => {
                *taken += size;
                kept.push(one);
            }
            (Some(_), _) => too_many.push(one.delivery.n()),
        }
    }
    give_up(core, session, &too_many).await?;
    let events = events(session, &kept).await?;
    let mut answers: Vec<ClaimedDue> = claims.iter().map(|_| ClaimedDue::default()).collect();
    for one in kept {
        let claim = claims.get(one.place).map(|(claim, _)| claim);
        match (claim, events.get(&one.event), answers.get_mut(one.place)) {
            (Some(claim), Some(event), Some(answer)) => answer.deliveries.push(one.claimed(claim, event)),
            // Purged between the two questions.
            _ => gone.push((one.place, one.ended_by(Reason::PayloadExpired))),
        }
    }
    for (place, _) in &gone {
        if let Some(answer) = answers.get_mut(*place) {
            answer.ended += 1;
        }
    }
    let got = |place: i32| {
        let answer = usize::try_from(place).ok().and_then(|place| answers.get(place));
        answer.is_some_and(|answer| answer.ended > 0 || !answer.deliveries.is_empty())
    };
    let mut next = next_due(session, &free).await?;
    next.extend(in_order::next_due(session, &in_order, got).await?);
    for (place, due_at) in next {
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if let Some(answer) = answers.get_mut(place) {
            answer.next_due_at = due_at;
        }
    }
    for ((_, reply), answer) in claims.into_iter().zip(answers) {
        reply.answer = Some(answer);
    }
    Ok(gone.into_iter().map(|(_, cancel)| cancel).collect())
}

/// Makes this node the owner of what is due for each claim.
async fn own(core: &Core, session: &mut Session, claims: &[Placed]) -> Result<Vec<Owned>, Trouble> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<i32> = claims.iter().map(|(place, _)| *place).collect();
    let column = |of: fn(&Claim) -> i64| -> Vec<i64> { claims.iter().map(|(_, claim)| of(claim)).collect() };
    let statement = session.prepared(OWN).await?;
    let rows = session
        .client()
        .query(
            &statement,
            &[
                &core.epoch,
                &places,
                &column(|claim| i64::from(claim.shard)),
                &column(|claim| claim.endpoint),
                &column(|claim| claim.now.micros()),
                &column(|claim| i64::from(claim.limit)),
            ],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// When the earliest of what still waits is due for each claim.
async fn next_due(
    session: &mut Session,
    claims: &[Placed],
) -> Result<Vec<(i32, Option<Timestamp>)>, Trouble> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<i32> = claims.iter().map(|(place, _)| *place).collect();
    let shards: Vec<i64> = claims.iter().map(|(_, claim)| i64::from(claim.shard)).collect();
    let endpoints: Vec<i64> = claims.iter().map(|(_, claim)| claim.endpoint).collect();
    let statement = session.prepared(NEXT_DUE).await?;
    let rows = session
        .client()
        .query(&statement, &[&places, &shards, &endpoints])
        .await?;
    let next = rows.iter().map(|row| {
        let due_at: Option<i64> = row.try_get(1)?;
        Ok((row.try_get(0)?, due_at.map(Timestamp::from_micros)))
    });
    next.collect()
}

/// Gives up what was claimed in this transaction: what waits for an ordered endpoint has its place already.
async fn give_up(core: &Core, session: &mut Session, claimed: &[i64]) -> Result<(), Trouble> {
    if !claimed.is_empty() {
        let statement = session.prepared(DISOWN).await?;
        session
            .client()
            .execute(&statement, &[&claimed, &core.epoch])
            .await?;
    }
    Ok(())
}

fn read(row: &tokio_postgres::Row) -> Result<Owned, Trouble> {
    let cause: &str = row.try_get(8)?;
    let small = |at: usize| -> Result<u32, Trouble> {
        Ok(u32::try_from(row.try_get::<_, i64>(at)?).unwrap_or(u32::MAX))
    };
    let payload_bytes: Option<i32> = row.try_get(9)?;
    Ok(Owned {
        place: usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or(usize::MAX),
        delivery: DeliveryId(Id {
            n: row.try_get(1)?,
            tag: row.try_get(2)?,
        }),
        event: row.try_get(3)?,
        attempt: small(4)?,
        failed: small(5)?,
        first_at: row.try_get::<_, Option<i64>>(6)?.map(Timestamp::from_micros),
        due_at: Timestamp::from_micros(row.try_get(7)?),
        trigger: Trigger::parse(cause).ok_or_else(|| unknown(cause))?,
        payload_bytes: payload_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(0)),
    })
}

/// What the deliveries deliver, each event once.
async fn events(session: &mut Session, owned: &[Owned]) -> Result<HashMap<i64, Arc<ClaimedEvent>>, Trouble> {
    let asked: HashSet<i64> = owned.iter().map(|one| one.event).collect();
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let asked: Vec<i64> = asked.into_iter().collect();
    let statement = session.prepared(EVENTS).await?;
    let rows = session.client().query(&statement, &[&asked]).await?;
    let mut events = HashMap::with_capacity(rows.len());
    for row in &rows {
        let n = row.try_get(0)?;
        let name: &str = row.try_get(3)?;
        let payload: Vec<u8> = row.try_get(4)?;
        let event = ClaimedEvent {
            id: EventId(Id {
                n,
                tag: row.try_get(1)?,
            }),
            tenant: row.try_get(2)?,
            event_type: EventTypeName::parse(name).map_err(|_| unknown(name))?,
            payload: payload.into(),
            occurred_at: row.try_get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
            loops: loops(row.try_get(6)?),
            trace: trace(row.try_get(6)?),
        };
        events.insert(n, Arc::new(event));
    }
    Ok(events)
}

fn unknown(word: &str) -> Trouble {
    Trouble::Unable(StoreError::Unreadable(format!("{word:?} is not a known word")))
}
