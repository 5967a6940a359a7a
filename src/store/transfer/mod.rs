//! Moving a whole database to another one, of either engine: tables are copied as rows of values that both engines
//! can read and write, page by page, each page in one commit with the cursor behind it.

mod coverage;
mod error;
mod mark;
mod run;
mod side;
mod tables;
mod value;

pub use coverage::knows_column;
pub use error::MoveError;
pub use mark::MovedError;
pub use run::{Comparison, Outcome, SealedRow, Step, Transfer, TransferRequest};

pub(in crate::store) use mark::{CREATE, Direction, Mark};
pub(in crate::store) use side::{Progress, Side};
pub(in crate::store) use tables::{Column, Kind, Table};
pub(in crate::store) use value::{Row, Value};
