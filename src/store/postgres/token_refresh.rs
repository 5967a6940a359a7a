//! Which node refreshes the tokens of a connection: many servers take a refresh token once, and revoke the grant
//! when it comes again.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;

use super::tx::{Step, Tx, params};
use crate::domain::id::DestinationId;
use crate::store::RefreshTurn;
use crate::store::failure::Failure;

/// After this a refresh that another node began has ended: its request takes five seconds at most.
const REFRESH_TIME: Duration = Duration::from_secs(15);

/// The turn of a node that has ended, or began long ago, is over. The server's clock measures it alone.
const TAKE: &str = "INSERT INTO token_refreshes AS t (destination_id, number, slot, started_at)
     SELECT $1, $2, $3, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
     WHERE coalesce((SELECT number FROM connections WHERE destination_id = $1), 0) = $2
     ON CONFLICT (destination_id) DO UPDATE
     SET number = excluded.number, slot = excluded.slot, started_at = excluded.started_at
     WHERE t.number <> excluded.number OR t.slot = excluded.slot
        OR t.started_at < excluded.started_at - $4
        OR NOT EXISTS (SELECT 1 FROM nodes AS n WHERE n.slot = t.slot AND n.ended_at IS NULL)";
const NUMBER: &str =
    "SELECT coalesce((SELECT number FROM connections WHERE destination_id = $1), 0)";

/// Takes the turn to refresh the tokens of this number.
#[derive(Debug)]
pub(super) struct TakeTurn {
    pub(super) destination_id: DestinationId,
    pub(super) number: i64,
}

#[async_trait]
impl Step for TakeTurn {
    type Answer = RefreshTurn;
    const CONTEXT: &'static str = "begin to refresh a token";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<RefreshTurn, Failure> {
        let (id, slot) = (self.destination_id.0, tx.keys.slot());
        let time = i64::try_from(REFRESH_TIME.as_micros()).unwrap_or(i64::MAX);
        if tx.execute(TAKE, params![id, self.number, slot, time]).await? > 0 {
            return Ok(RefreshTurn::Mine);
        }
        let number: i64 = tx.one(NUMBER, params![id], |row| Ok(row.try_get(0)?)).await?;
        Ok(if number == self.number { RefreshTurn::Others } else { RefreshTurn::Replaced })
    }
}
