//! A writer's connection and its transactions. When a connection is lost during COMMIT, the writer finds out
//! whether it happened before anybody gets an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use super::super::counts::Counts;
use super::super::error::{is_of_statement, is_retried};
use super::super::open::Target;
use super::super::{RUNS, Shared, accept, inbox, record};
use super::batch::Work;
use crate::store::failure::Failure;
use crate::store::{Accepted, Recorded};

/// A transaction takes milliseconds; a server that takes longer than this is unreachable.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
const LEAST_WAIT: Duration = Duration::from_millis(50);
const MOST_WAIT: Duration = Duration::from_secs(1);

/// The answers of a transaction, in the order of its work.
pub(in crate::store::postgres) enum Done {
    Accepted(Vec<Accepted>),
    Recorded(Vec<Recorded>),
}

/// What a transaction has written, before its COMMIT.
enum Written {
    Accepted(accept::Written),
    Recorded(record::Written),
}

impl Written {
    fn done(self) -> Done {
        match self {
            Self::Accepted(written) => Done::Accepted(written.answers),
            Self::Recorded(written) => Done::Recorded(written.answers),
        }
    }

    /// Whether it is in the database. What wrote no row is written again: only counters would be twice.
    async fn is_stored(&self, conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
        match self {
            Self::Accepted(accept::Written { event_id: Some(id), .. }) => {
                accept::is_stored(conn, *id).await
            }
            Self::Recorded(record::Written { attempt_id: Some(id), .. }) => {
                record::is_stored(conn, *id).await
            }
            Self::Accepted(_) | Self::Recorded(_) => Ok(false),
        }
    }
}

/// A process of the server.
#[derive(Clone, Debug)]
struct Process {
    pid: i32,
    started_at: String,
}

/// A connection and the server's process behind it.
struct Session {
    conn: PgConnection,
    process: Process,
}

/// One of the node's writers.
pub(in crate::store::postgres) struct Writer {
    target: Arc<Target>,
    shared: Arc<Shared>,
    number: u8,
    session: Option<Session>,
}

impl Writer {
    pub(in crate::store::postgres) fn new(
        target: Arc<Target>,
        shared: Arc<Shared>,
        number: u8,
    ) -> Self {
        Self { target, shared, number, session: None }
    }

    pub(in crate::store::postgres) async fn close(self) {
        if let Some(session) = self.session
            && let Err(error) = session.conn.close().await
        {
            tracing::debug!(%error, "a writer's connection did not close in order");
        }
    }

    /// Writes and commits; again where it lost to another transaction. On an error nothing was committed.
    pub(in crate::store::postgres) async fn commit(
        &mut self,
        work: &Work<'_>,
    ) -> Result<Done, Failure> {
        let began = Instant::now();
        let done = self.commit_work(work).await;
        self.shared.note_reached(done.as_ref().err());
        let done = done?;
        let metrics = &self.shared.metrics;
        if work.len() > 0 {
            metrics.commit_rows.observe(f64::from(work.len()));
        }
        metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
        Ok(done)
    }

    async fn commit_work(&mut self, work: &Work<'_>) -> Result<Done, Failure> {
        let mut runs = 1;
        loop {
            let mut session = match self.session.take() {
                Some(session) => session,
                None => self.connect().await?,
            };
            let mut written = None;
            let run = self.run(&mut session.conn, work, &mut written);
            let failure = match tokio::time::timeout(TRANSACTION_TIMEOUT, run).await {
                Ok(Ok(())) => {
                    self.session = Some(session);
                    match written {
                        Some(written) => return Ok(written.done()),
                        None => continue,
                    }
                }
                Ok(Err(failure)) => failure,
                Err(late) => sqlx::Error::Io(std::io::Error::other(late)).into(),
            };
            if is_of_statement(&failure) {
                self.session = Some(session);
                if is_retried(&failure) && runs < RUNS {
                    runs += 1;
                    continue;
                }
                return Err(failure);
            }
            // The connection is lost, perhaps during COMMIT.
            let Some(written) = written else { return Err(failure) };
            if self.find(session, &written).await {
                return Ok(written.done());
            }
        }
    }

    async fn run(
        &self,
        conn: &mut PgConnection,
        work: &Work<'_>,
        written: &mut Option<Written>,
    ) -> Result<(), Failure> {
        let mut transaction = conn.begin().await?;
        let mut counts = Counts::default();
        let clock = &self.shared.clock;
        let rows = match work {
            Work::Accept(arrivals) => Written::Accepted(
                accept::accept(
                    &mut transaction,
                    arrivals,
                    &self.shared.filters,
                    clock.service_now(),
                    &mut counts,
                )
                .await?,
            ),
            Work::Take(take) => {
                let by = (&self.shared.keys, &self.shared.filters, clock.service_now());
                Written::Accepted(inbox::take(&mut transaction, take, by, &mut counts).await?)
            }
            Work::Record(records) => {
                let by = (&self.shared.keys, clock.now());
                Written::Recorded(record::record(&mut transaction, records, by, &mut counts).await?)
            }
        };
        let row = self.shared.ledger_row(self.number);
        counts.write(&mut transaction, row, clock.now()).await?;
        *written = Some(rows);
        transaction.commit().await?;
        Ok(())
    }

    async fn connect(&self) -> Result<Session, Failure> {
        let mut conn = self.target.writer().await?;
        let row = sqlx::query(
            "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        )
        .fetch_one(&mut conn)
        .await?;
        let process = Process { pid: row.try_get(0)?, started_at: row.try_get(1)? };
        Ok(Session { conn, process })
    }

    /// Whether a transaction was committed whose connection was lost. Asks until the server answers: an
    /// answer before that would be a guess.
    async fn find(&mut self, lost: Session, written: &Written) -> bool {
        let Session { conn, process } = lost;
        drop(conn);
        let mut lost = vec![process];
        let mut wait = LEAST_WAIT;
        loop {
            let asked = tokio::time::timeout(TRANSACTION_TIMEOUT, self.ask(&mut lost, written));
            match asked
                .await
                .unwrap_or_else(|late| Err(sqlx::Error::Io(std::io::Error::other(late)).into()))
            {
                Ok(is_stored) => return is_stored,
                Err(failure) => {
                    self.shared.note_reached(Some(&failure));
                    tracing::warn!(?failure, "the outcome of a COMMIT is not known yet");
                }
            }
            tokio::time::sleep(wait).await;
            wait = MOST_WAIT.min(wait * 2);
        }
    }

    /// Ends the lost processes, one of which may still be committing, and looks. The look is a commit of its own,
    /// which waits for synchronous standbys as the lost one did: a process that is ended while it waits has
    /// committed here alone.
    async fn ask(&mut self, lost: &mut Vec<Process>, written: &Written) -> Result<bool, Failure> {
        let mut session = self.connect().await?;
        for process in lost.iter() {
            let ended = sqlx::query_scalar::<_, bool>(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                 WHERE pid = $1 AND backend_start::text = $2",
            )
            .bind(process.pid)
            .bind(&process.started_at)
            .fetch_all(&mut session.conn)
            .await?;
            if ended.contains(&false) {
                return Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into());
            }
        }
        *lost = vec![session.process.clone()];
        let mut transaction = session.conn.begin().await?;
        sqlx::query("SELECT pg_logical_emit_message(true, 'postrider', '')")
            .fetch_all(&mut *transaction)
            .await?;
        let is_stored = written.is_stored(&mut transaction).await?;
        transaction.commit().await?;
        self.session = Some(session);
        Ok(is_stored)
    }
}
