//! Claiming in order: of an ordered endpoint, the first alone.

use super::{Owned, Placed, read};
use crate::ordering;
use crate::postgres::Core;
use crate::postgres::lane::Trouble;
use crate::postgres::session::Session;
use crate::tx::{Tx, values};
use stentor_domain::Timestamp;
use stentor_domain::limits::UNORDERED_MAX;

/// Takes the first at each endpoint, if it is due and nobody has it, as long as this node is a node.
const OWN_FIRST: &str = "
WITH alive AS (SELECT epoch FROM nodes WHERE epoch = $1 FOR KEY SHARE),
due AS (
  SELECT c.place, d.n
  FROM unnest($2::int[], $3::bigint[], $4::bigint[]) AS c (place, endpoint, now),
       LATERAL (SELECT n FROM work WHERE endpoint = c.endpoint AND seq IS NOT NULL ORDER BY seq LIMIT 1) AS first,
       LATERAL (SELECT n FROM work WHERE work.n = first.n AND owner IS NULL AND due_at <= c.now FOR UPDATE SKIP LOCKED) AS d
  WHERE EXISTS (SELECT 1 FROM alive))
UPDATE work w SET owner = $1 FROM due WHERE w.n = ANY(ARRAY(SELECT n FROM due)) AND w.n = due.n
RETURNING due.place, w.n, w.tag, w.event, w.attempt, w.failed, w.first_at, w.due_at, w.cause,
          (SELECT octet_length(payload) FROM events WHERE events.n = w.event)";
/// Of each endpoint's order: is there a first, when is it due as far as nobody has it, and is there a second?
const FIRST_TWO: &str = "
SELECT c.place, first.n IS NOT NULL, CASE WHEN first.owner IS NULL THEN first.due_at END,
       EXISTS (SELECT 1 FROM work WHERE endpoint = c.endpoint AND seq > first.seq)
FROM unnest($1::int[], $2::bigint[]) AS c (place, endpoint)
LEFT JOIN LATERAL (SELECT n, seq, owner, due_at FROM work WHERE endpoint = c.endpoint AND seq IS NOT NULL
                   ORDER BY seq LIMIT 1) AS first ON true";

/// Makes this node the owner of the first of each claim's endpoint.
pub(super) async fn own(
    core: &Core,
    session: &mut Session,
    claims: &[Placed],
) -> Result<Vec<Owned>, Trouble> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<i32> = claims.iter().map(|(place, _)| *place).collect();
    let endpoints: Vec<i64> = claims.iter().map(|(_, claim)| claim.endpoint).collect();
    let now: Vec<i64> = claims.iter().map(|(_, claim)| claim.now.micros()).collect();
    let statement = session.prepared(OWN_FIRST).await?;
    let rows = session
        .client()
        .query(&statement, &[&core.epoch, &places, &endpoints, &now])
        .await?;
    rows.iter().map(read).collect()
}

/// When the next of each claim's endpoint is due, given whether `got` says that the claim of a place got the first.
pub(super) async fn next_due(
    session: &mut Session,
    claims: &[Placed],
    got: impl Fn(i32) -> bool,
) -> Result<Vec<(i32, Option<Timestamp>)>, Trouble> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<i32> = claims.iter().map(|(place, _)| *place).collect();
    let endpoints: Vec<i64> = claims.iter().map(|(_, claim)| claim.endpoint).collect();
    let statement = session.prepared(FIRST_TWO).await?;
    let rows = session.client().query(&statement, &[&places, &endpoints]).await?;
    let mut next = Vec::with_capacity(rows.len());
    for row in &rows {
        let place: i32 = row.try_get(0)?;
        let Some((_, claim)) = claims.iter().find(|(known, _)| *known == place) else {
            continue;
        };
        let (there, due_at, second): (bool, Option<i64>, bool) =
            (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let due_at = match (there, got(place)) {
            (true, true) => second.then_some(claim.now),
            (true, false) => due_at.map(Timestamp::from_micros),
            // Whatever has been left without a place must not wait for ever: it is placed, and claimed next.
            (false, _) => {
                let claim_now = claim.now;
                let placed = Tx::Postgres(session)
                    .execute(
                        ordering::PLACE_SOME,
                        values![i64::from(claim.shard), claim.endpoint, UNORDERED_MAX],
                    )
                    .await;
                (placed.map_err(Trouble::Unable)? > 0).then_some(claim_now)
            }
        };
        next.push((place, due_at));
    }
    Ok(next)
}
