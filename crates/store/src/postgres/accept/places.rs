//! The places of a group's deliveries in the order of ordered endpoints, drawn in the transaction that accepts them.

use super::Work;
use crate::postgres::lane::Trouble;
use crate::postgres::session::Session;

/// Draws places in the order of ordered endpoints, and tells the first of each. Of several, all are held before, in the order
/// of their keys.
const DRAW: &str = "
UPDATE orders o SET next_seq = o.next_seq + d.places
FROM unnest($1::bigint[], $2::bigint[]) AS d (endpoint, places) WHERE o.endpoint = d.endpoint
RETURNING o.endpoint, o.next_seq - d.places";
const HOLD_ORDERS: &str =
    "SELECT endpoint FROM orders WHERE endpoint = ANY($1::bigint[]) ORDER BY endpoint FOR UPDATE";

impl Work {
    /// Gives their places to the rows of ordered endpoints.
    pub(super) async fn draw(&mut self, session: &mut Session) -> Result<(), Trouble> {
        let endpoints: Vec<i64> = self.ordered.keys().copied().collect();
        let places: Vec<i64> = self
            .ordered
            .values()
            .map(|rows| i64::try_from(rows.len()).unwrap_or(i64::MAX))
            .collect();
        if endpoints.len() > 1 {
            let statement = session.prepared(HOLD_ORDERS).await?;
            session.client().query(&statement, &[&endpoints]).await?;
        }
        let statement = session.prepared(DRAW).await?;
        let drawn = session.client().query(&statement, &[&endpoints, &places]).await?;
        for row in &drawn {
            let first: i64 = row.try_get(1)?;
            let rows = self.ordered.get(&row.try_get(0)?);
            for (place, at) in (first..).zip(rows.into_iter().flatten()) {
                if let Some(seq) = self.seq.get_mut(*at) {
                    *seq = Some(place);
                }
            }
        }
        Ok(())
    }
}
