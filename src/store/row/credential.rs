//! Rows of credentials, which an operator sets for a destination's requests, and of connections, which have the tokens
//! granted to it.

use std::borrow::Cow;

use super::{Columns, Row, foreign};
use crate::domain::id::DestinationId;
use crate::store::failure::Failure;
use crate::store::{Connection, ConnectionState, Credential, CredentialSlot};

/// The rows of [`credential`].
pub(crate) const CREDENTIALS: &str = "
    SELECT destination_id, slot, header, sealed_id, key_id, sealed, created_at, CAST(NULL AS bigint)
    FROM credentials ORDER BY destination_id, slot, header";

/// The rows of [`connection`].
pub(crate) const CONNECTIONS: &str = "
    SELECT destination_id, number, connected_at, expires_at, fault,
        sealed_id, key_id, sealed, created_at, CAST(NULL AS bigint)
    FROM connections ORDER BY destination_id";

/// Marks a query parameter among the headers: no header's name has this character.
const PARAMETER: char = '?';

/// The columns `slot` and `header`.
pub(crate) fn slot_columns(slot: &CredentialSlot) -> (&'static str, Cow<'_, str>) {
    match slot {
        CredentialSlot::BearerToken => ("bearer_token", "".into()),
        CredentialSlot::ClientSecret => ("client_secret", "".into()),
        CredentialSlot::Header(name) => ("header", Cow::Borrowed(name)),
        CredentialSlot::Parameter(name) => ("header", format!("{PARAMETER}{name}").into()),
    }
}

/// A row of [`CREDENTIALS`].
pub(crate) fn credential<'a>(row: impl Into<Row<'a>>) -> Result<Credential, Failure> {
    let mut from = Columns::from(row, 0);
    let destination_id = DestinationId(from.take()?);
    let (word, header): (_, String) = (from.text()?, from.take()?);
    let slot = match word {
        "bearer_token" => CredentialSlot::BearerToken,
        "client_secret" => CredentialSlot::ClientSecret,
        "header" => match header.strip_prefix(PARAMETER) {
            Some(name) => CredentialSlot::Parameter(name.to_owned()),
            None => CredentialSlot::Header(header),
        },
        other => return Err(foreign("the credential", other)),
    };
    Ok(Credential { destination_id, slot, secret: from.sealed()? })
}

/// A row of [`CONNECTIONS`].
pub(crate) fn connection<'a>(row: impl Into<Row<'a>>) -> Result<Connection, Failure> {
    let mut from = Columns::from(row, 0);
    let destination_id = DestinationId(from.take()?);
    let (number, connected_at) = (from.take()?, from.maybe_at()?);
    let expires_at = from.maybe_at()?;
    let state = match from.take::<Option<String>>()? {
        Some(fault) => ConnectionState::Lost { fault },
        None => ConnectionState::Connected { tokens: from.sealed()?, expires_at },
    };
    Ok(Connection { destination_id, number, connected_at, state })
}
