//! A move from its beginning to its end. Both databases are marked first; then the tables are copied, and both are
//! read again and compared; then the target is marked as done, then the source. Killed anywhere, the same command
//! continues.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::MoveError;
use super::mark::{Direction, Mark, MovedError};
use super::side::{Progress, Side};
use super::tables::{TABLES, Table};
use super::value::{Digest, Row, Value, size};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::database::DatabaseAddress;
use crate::domain::secret::SealedSecret;
use crate::store::postgres::PostgresSide;
use crate::store::sqlite::SqliteSide;
use crate::store::{OpenError, StoreError};

/// Pages grow and shrink with the size of their rows.
const FIRST_PAGE: usize = 64;
const PAGE_BYTES: usize = 4 << 20;

/// What to move.
pub struct TransferRequest<'a> {
    /// The source.
    pub from: &'a DatabaseAddress,
    /// The target.
    pub to: &'a DatabaseAddress,
    /// The most rows of one commit.
    pub page_rows: usize,
    /// The clock of marks.
    pub clock: Arc<dyn Clock>,
}

/// What a move is doing.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Rows of a table were committed in the target.
    Copied {
        /// The table.
        table: &'static str,
        /// Rows so far.
        rows: u64,
        /// Rows in the source.
        of: u64,
    },
    /// Rows of a table were read again in both.
    Compared {
        /// The table.
        table: &'static str,
        /// Rows so far.
        rows: u64,
        /// Rows in the source.
        of: u64,
    },
    /// A table was compared.
    Result(&'a Comparison),
}

/// A table in both databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The table.
    pub table: &'static str,
    /// Rows in the source, and the beginning of their digest.
    pub source: (u64, String),
    /// The same of the target.
    pub target: (u64, String),
    /// Whether counts and whole digests are equal.
    pub equal: bool,
}

/// How a move ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is in the target.
    Moved(Vec<Comparison>),
    /// An earlier run has ended it.
    WasMoved,
}

/// A sealed secret of the source, to be opened with the target's key.
#[derive(Clone, Debug)]
pub struct SealedRow {
    /// Its table.
    pub table: &'static str,
    /// The secret.
    pub secret: SealedSecret,
}

/// A move whose databases are open and locked.
pub struct Transfer {
    source: Box<dyn Side>,
    target: Box<dyn Side>,
    from: String,
    to: String,
    page_rows: usize,
    clock: Arc<dyn Clock>,
}

async fn open(
    database: &DatabaseAddress,
    other: Option<&DatabaseAddress>,
    clock: &Arc<dyn Clock>,
) -> Result<Box<dyn Side>, OpenError> {
    let text_without_nul = matches!(other, Some(DatabaseAddress::Server(_)));
    Ok(match database {
        DatabaseAddress::File(path) => {
            Box::new(SqliteSide::open(path, clock, text_without_nul).await?)
        }
        DatabaseAddress::Server(address) => Box::new(PostgresSide::open(address).await?),
    })
}

/// The database as marks and messages name it: a file by its whole path.
fn name(database: &DatabaseAddress) -> String {
    let whole = database.file().and_then(|path| path.canonicalize().ok());
    whole.map_or_else(|| database.shown(), |path| DatabaseAddress::File(path).shown())
}

fn is_missing(database: &DatabaseAddress) -> bool {
    database.file().is_some_and(|path| !path.exists())
}

fn is_same(one: &DatabaseAddress, other: &DatabaseAddress) -> bool {
    match (one.file(), other.file()) {
        (Some(one), Some(other)) => {
            one == other
                || matches!((one.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b)
        }
        (None, None) => one.shown() == other.shown(),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

impl Transfer {
    /// Opens both databases, and refuses what cannot be moved. The schema of both is brought up to date; nothing
    /// else is changed yet.
    ///
    /// # Errors
    /// [`MoveError`] says what stands in the way.
    pub async fn open(request: TransferRequest<'_>) -> Result<Self, MoveError> {
        let TransferRequest { from, to, page_rows, clock } = request;
        if is_missing(from) {
            return Err(MoveError::Missing(from.shown()));
        }
        if is_same(from, to) {
            return Err(MoveError::Same(from.shown()));
        }
        let source = open(from, Some(to), &clock).await?;
        let target = open(to, Some(from), &clock).await?;
        let (from, to) = (name(from), name(to));
        let page_rows = page_rows.max(1);
        let mut transfer = Self { source, target, from, to, page_rows, clock };
        for (side, database) in
            [(&mut transfer.source, &transfer.from), (&mut transfer.target, &transfer.to)]
        {
            if let Some(obstacle) = side.obstacle().await? {
                return Err(MoveError::Busy { database: database.clone(), obstacle });
            }
        }
        Ok(transfer)
    }

    /// The secrets that the service on the target has to be able to open.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub async fn sealed(&mut self) -> Result<Vec<SealedRow>, MoveError> {
        let mut found = Vec::new();
        for table in TABLES.iter().filter(|it| position(it, "sealed").is_some()) {
            let mut pages = Pages::new(table, self.page_rows);
            while let Some(rows) = pages.next(&mut *self.source).await? {
                found.extend(rows.iter().filter_map(|row| sealed_row(table, row)));
            }
        }
        Ok(found)
    }

    /// Moves, or continues.
    ///
    /// # Errors
    /// [`MoveError`]; the target is not usable until a later run has ended the move.
    pub async fn run(
        &mut self,
        mut observe: impl FnMut(Step<'_>) + Send,
    ) -> Result<Outcome, MoveError> {
        let Some(id) = self.begin().await? else { return Ok(Outcome::WasMoved) };
        self.copy(&mut observe).await?;
        self.target.finish().await?;
        let compared = self.compare(&mut observe).await?;
        let differing: Vec<String> =
            compared.iter().filter(|it| !it.equal).map(|it| it.table.to_owned()).collect();
        if !differing.is_empty() {
            return Err(MoveError::Different(differing));
        }
        self.end(&id).await?;
        Ok(Outcome::Moved(compared))
    }

    /// Marks both databases, the target first; none when the move is done.
    async fn begin(&mut self) -> Result<Option<String>, MoveError> {
        let (out, into) =
            (self.source.mark(Direction::Out).await?, self.target.mark(Direction::In).await?);
        let arrived = self.source.mark(Direction::In).await?;
        MovedError::check(&self.from, None, arrived)?;
        let left = self.target.mark(Direction::Out).await?;
        MovedError::check(&self.to, left, None)?;
        let is_ours = |mark: &Mark, other: &str| mark.other == other;
        match (&out, &into) {
            (Some(out), _) if !is_ours(out, &self.to) => {
                MovedError::check(&self.from, Some(out.clone()), None)?;
            }
            (_, Some(into)) if !is_ours(into, &self.from) => {
                MovedError::check(&self.to, None, Some(into.clone()))?;
            }
            (Some(out), Some(into)) if out.id == into.id && into.done => {
                self.end(&out.id).await?;
                return Ok(None);
            }
            (None, Some(into)) if into.done => {}
            (Some(out), Some(into)) if out.id == into.id => return Ok(Some(out.id.clone())),
            // The marks of the source are written after those of the target.
            (None, Some(into)) => {
                let id = into.id.clone();
                self.mark_source(&id).await?;
                return Ok(Some(id));
            }
            (Some(out), _) => MovedError::check(&self.from, Some(out.clone()), None)?,
            (None, None) => {}
        }
        self.check_empty().await?;
        let id = format!("{:x}", self.clock.now().as_micros());
        let mark = self.mark(&id, &self.from, false);
        self.target.set_mark(Direction::In, Some(&mark)).await?;
        self.mark_source(&id).await?;
        Ok(Some(id))
    }

    fn mark(&self, id: &str, other: &str, done: bool) -> Mark {
        Mark { id: id.to_owned(), other: other.to_owned(), done, at: self.clock.now() }
    }

    /// Marks the source. A service that has started meanwhile takes the mark away again.
    async fn mark_source(&mut self, id: &str) -> Result<(), MoveError> {
        let mark = self.mark(id, &self.to, false);
        self.source.set_mark(Direction::Out, Some(&mark)).await?;
        if let Some(obstacle) = self.source.obstacle().await? {
            self.source.set_mark(Direction::Out, None).await?;
            return Err(MoveError::Busy { database: self.from.clone(), obstacle });
        }
        Ok(())
    }

    async fn check_empty(&mut self) -> Result<(), MoveError> {
        for table in TABLES.iter().filter(|it| !it.seeded) {
            if self.target.count(table).await? > 0 {
                let database = self.to.clone();
                return Err(MoveError::NotEmpty { database, table: table.name });
            }
        }
        Ok(())
    }

    /// Marks the move as done. The target comes first: between both, neither is served twice.
    async fn end(&mut self, id: &str) -> Result<(), MoveError> {
        let (into, out) = (self.mark(id, &self.from, true), self.mark(id, &self.to, true));
        self.target.set_mark(Direction::In, Some(&into)).await?;
        self.source.set_mark(Direction::Out, Some(&out)).await?;
        Ok(())
    }

    async fn copy(&mut self, observe: &mut (impl FnMut(Step<'_>) + Send)) -> Result<(), MoveError> {
        let mut progress = self.target.progress().await?;
        let mut tables = TABLES;
        while !tables.is_empty() {
            let together = 1 + tables.iter().take_while(|it| it.with_next).count();
            let (these, rest) = tables.split_at(together.min(tables.len()));
            self.copy_unit(these, &mut progress, observe).await?;
            tables = rest;
        }
        Ok(())
    }

    /// Copies tables: one in a transaction a page, several in one transaction.
    async fn copy_unit(
        &mut self,
        tables: &[Table],
        progress: &mut BTreeMap<String, Progress>,
        observe: &mut (impl FnMut(Step<'_>) + Send),
    ) -> Result<(), MoveError> {
        let is_paged = tables.len() == 1;
        if !is_paged {
            self.target.begin().await?;
        }
        for table in tables {
            let mut state = progress.remove(table.name).unwrap_or_default();
            if state.done {
                continue;
            }
            let of = self.source.count(table).await?;
            let mut pages = Pages { after: state.cursor, ..Pages::new(table, self.page_rows) };
            while !state.done {
                let rows = pages.next(&mut *self.source).await?.unwrap_or_default();
                let copied = state.copied + rows.len() as u64;
                state = Progress { cursor: pages.after.clone(), copied, done: pages.ended };
                if is_paged {
                    self.target.begin().await?;
                }
                self.target.write(table, rows, &state).await?;
                if is_paged {
                    self.target.commit().await?;
                }
                observe(Step::Copied { table: table.name, rows: copied, of });
            }
        }
        if !is_paged {
            self.target.commit().await?;
        }
        Ok(())
    }

    async fn compare(
        &mut self,
        observe: &mut (impl FnMut(Step<'_>) + Send),
    ) -> Result<Vec<Comparison>, MoveError> {
        let mut compared = Vec::new();
        for table in TABLES {
            let of = self.source.count(table).await?;
            let mut digests = [Digest::default(), Digest::default()];
            for (digest, side) in digests.iter_mut().zip([&mut self.source, &mut self.target]) {
                let mut pages = Pages::new(table, self.page_rows);
                while let Some(rows) = pages.next(&mut **side).await? {
                    digest.add(&rows);
                    observe(Step::Compared { table: table.name, rows: digest.rows, of });
                }
            }
            let [source, target] = digests;
            let comparison = Comparison {
                table: table.name,
                source: (source.rows, source.shown()),
                target: (target.rows, target.shown()),
                equal: source == target,
            };
            observe(Step::Result(&comparison));
            compared.push(comparison);
        }
        Ok(compared)
    }

    /// Makes the source of a move usable again; returns where it had gone. The other database is not changed.
    ///
    /// # Errors
    /// [`MoveError::NotMoved`] when there is no such mark.
    pub async fn undo(from: &DatabaseAddress, clock: Arc<dyn Clock>) -> Result<String, MoveError> {
        if is_missing(from) {
            return Err(MoveError::Missing(from.shown()));
        }
        let mut source = open(from, None, &clock).await?;
        let Some(mark) = source.mark(Direction::Out).await? else {
            return Err(MoveError::NotMoved(from.shown()));
        };
        source.set_mark(Direction::Out, None).await?;
        Ok(mark.other)
    }
}

fn position(table: &Table, column: &str) -> Option<usize> {
    table.columns.iter().position(|it| it.name == column)
}

fn sealed_row(table: &Table, row: &Row) -> Option<SealedRow> {
    let at = |column| position(table, column).and_then(|index| row.get(index));
    let (Some(Value::Bytes(id)), Some(Value::Text(key_id)), Some(Value::Bytes(sealed))) =
        (at("sealed_id"), at("key_id"), at("sealed"))
    else {
        return None;
    };
    let secret = SealedSecret {
        id: id.as_slice().try_into().ok()?,
        key_id: key_id.clone(),
        sealed: sealed.clone(),
        created_at: Timestamp::from_micros(0),
        retires_at: None,
    };
    Some(SealedRow { table: table.name, secret })
}

/// Reads a table page by page.
struct Pages<'a> {
    table: &'a Table,
    after: Vec<Value>,
    limit: usize,
    most: usize,
    ended: bool,
}

impl<'a> Pages<'a> {
    fn new(table: &'a Table, most: usize) -> Self {
        Self { table, after: Vec::new(), limit: FIRST_PAGE.min(most), most, ended: false }
    }

    /// The next rows; none at the end.
    async fn next(&mut self, side: &mut dyn Side) -> Result<Option<Vec<Row>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let rows = side.read(self.table, &self.after, self.limit).await?;
        let key = self.table.key;
        self.ended = key == 0 || rows.len() < self.limit;
        if let Some(last) = rows.last() {
            self.after = last.iter().take(key).cloned().collect();
        }
        let bytes = size(&rows);
        if bytes > PAGE_BYTES {
            self.limit = (self.limit / 2).max(1);
        } else if bytes < PAGE_BYTES / 2 {
            self.limit = (self.limit * 2).min(self.most);
        }
        Ok(Some(rows))
    }
}
