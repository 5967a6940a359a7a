//! The planned changes of a destination's credentials: tokens, client secrets, secret headers, and
//! whether its connection is kept. Values are compared and never shown.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};

use super::document::DestinationDocument;
use super::field_error::FieldError;
use super::given_secret::{GivenSecret, NOTHING_KEPT, is_kept, value};
use super::plan::{DestinationPair, Planner, Unlisted};
use crate::domain::outbound_auth::Auth;
use crate::settings::secrets::{Purpose, SecretError};
use crate::store::{ConnectionState, CredentialSlot, PipelineChange};

impl DestinationPair<'_> {
    fn change(&self, slot: CredentialSlot, purpose: Purpose) -> Slot<'_> {
        Slot { pair: *self, slot, purpose }
    }
}

struct Slot<'a> {
    pair: DestinationPair<'a>,
    slot: CredentialSlot,
    purpose: Purpose,
}

/// Secrets that a destination has by name.
struct Named {
    field: &'static str,
    purpose: Purpose,
    slot: fn(&str) -> CredentialSlot,
    desired: fn(&DestinationDocument) -> Option<&BTreeMap<String, GivenSecret>>,
}

const NAMED: [Named; 2] = [
    Named {
        field: "secret_headers",
        purpose: Purpose::SecretHeader,
        slot: |name| CredentialSlot::Header(name.to_ascii_lowercase()),
        desired: |destination| destination.secret_headers.as_ref(),
    },
    Named {
        field: "secret_parameters",
        purpose: Purpose::SecretParameter,
        slot: |name| CredentialSlot::Parameter(name.to_owned()),
        desired: |destination| destination.secret_parameters.as_ref(),
    },
];

impl Planner<'_> {
    /// Plans the credentials; the settings are planned before.
    pub(super) fn credentials(
        &mut self,
        pair: DestinationPair<'_>,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        self.connection(pair, details);
        let auth = pair.desired.auth.as_ref();
        let desired = pair.desired.settings().auth;
        let (token, secret) = match &desired {
            Auth::None => (None, None),
            Auth::Bearer => (auth.map(|it| it.token.as_ref()), None),
            Auth::ClientCredentials(_) | Auth::AuthorizationCode(_) => {
                (None, auth.map(|it| it.client_secret.as_ref()))
            }
        };
        let token_slot = pair.change(CredentialSlot::BearerToken, Purpose::BearerToken);
        self.of_auth("token", &token_slot, token, details)?;
        let secret_slot = pair.change(CredentialSlot::ClientSecret, Purpose::ClientSecret);
        self.of_auth("client_secret", &secret_slot, secret, details)?;
        NAMED.iter().try_for_each(|kind| self.named(pair, kind, details))
    }

    /// A connection belongs to one client at one authorization server.
    fn connection(&mut self, pair: DestinationPair<'_>, details: &mut Vec<String>) {
        let Some(current) = pair.current else { return };
        let before = &current.settings.auth;
        if !before.needs_connection() || before.keeps_connection(&pair.desired.settings().auth) {
            return;
        }
        let connection = self.context.current.connection(current.id).map(|one| &one.state);
        if matches!(connection, Some(ConnectionState::Connected { .. })) {
            details.push("connection: ends with this change".to_owned());
        }
        self.plan.changes.push(PipelineChange::Disconnect {
            source: pair.source.name.clone(),
            destination: pair.desired.name.clone(),
            fault: "its auth was changed".to_owned(),
        });
    }

    /// Plans the secret of an auth: `given` is none where the kind has none, and holds none where
    /// the field was left out.
    fn of_auth(
        &mut self,
        field: &'static str,
        slot: &Slot<'_>,
        given: Option<Option<&GivenSecret>>,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        let is_stored = self.holds(slot);
        let Some(given) = given else {
            if is_stored {
                details.push(format!("auth.{field}: removed"));
                self.put(slot, None)?;
            }
            return Ok(());
        };
        if let Some(given) = value(given) {
            return self.given(&format!("auth.{field}"), slot, given, details);
        }
        let desired = slot.pair.desired.settings().auth;
        let fits = slot.pair.current.is_some_and(|it| it.settings.auth.keeps_secret(&desired));
        let is_left_out = given.is_none() && self.context.unlisted == Unlisted::RemoveSecrets;
        let field = &format!("auth.{field}");
        match (is_stored, fits) {
            (true, true) if !is_left_out => {}
            (true, _) if is_left_out && desired.needs_connection() => {
                details.push(format!("{field}: removed"));
                self.put(slot, None)?;
            }
            // A stored secret is never sent to another server: it must be given again.
            (true, false) if !is_left_out => self.missing(
                slot.pair,
                field,
                "is required again: its URL, client or kind has changed",
            ),
            (false, _) if is_kept(given) => self.missing(slot.pair, field, NOTHING_KEPT),
            (false, _) if desired.needs_connection() => {}
            (true | false, _) => self.missing(slot.pair, field, "is required with this kind"),
        }
        Ok(())
    }

    /// Plans the secrets that a destination has by name: of headers or of query parameters.
    fn named(
        &mut self,
        pair: DestinationPair<'_>,
        kind: &Named,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        let nothing = BTreeMap::new();
        let desired = match (kind.desired)(pair.desired) {
            Some(secrets) => secrets,
            None if self.context.unlisted == Unlisted::Keep => return Ok(()),
            None => &nothing,
        };
        let field = kind.field;
        let wanted: Vec<CredentialSlot> = desired.keys().map(|name| (kind.slot)(name)).collect();
        for ((name, given), slot) in desired.iter().zip(&wanted) {
            let slot = pair.change(slot.clone(), kind.purpose);
            if let Some(given) = value(Some(given)) {
                self.given(&format!("{field}.{name}"), &slot, given, details)?;
            } else if !self.holds(&slot) {
                self.missing(pair, &format!("{field}.{name}"), NOTHING_KEPT);
            }
        }
        for (slot, name) in self.stored_by_name(pair, kind) {
            if !wanted.contains(&slot) {
                details.push(format!("{field}.{name}: removed"));
                self.put(&pair.change(slot, kind.purpose), None)?;
            }
        }
        Ok(())
    }

    /// The stored secrets of this kind, with their names.
    fn stored_by_name(
        &self,
        pair: DestinationPair<'_>,
        kind: &Named,
    ) -> Vec<(CredentialSlot, String)> {
        let stored = self.context.current.credentials.iter();
        let stored =
            stored.filter(|one| pair.current.is_some_and(|it| it.id == one.destination_id));
        let named = stored.filter_map(|one| match &one.slot {
            CredentialSlot::Header(name) | CredentialSlot::Parameter(name) => {
                ((kind.slot)(name) == one.slot).then(|| (one.slot.clone(), name.clone()))
            }
            CredentialSlot::BearerToken | CredentialSlot::ClientSecret => None,
        });
        named.collect()
    }

    /// Whether requests of the destination carry credentials after this change.
    pub(super) fn has_credentials(&self, pair: DestinationPair<'_>) -> bool {
        let by_name = |kind: &Named| match (kind.desired)(pair.desired) {
            Some(secrets) => !secrets.is_empty(),
            None if self.context.unlisted == Unlisted::Keep => {
                !self.stored_by_name(pair, kind).is_empty()
            }
            None => false,
        };
        pair.desired.settings().auth != Auth::None || NAMED.iter().any(by_name)
    }

    fn holds(&self, slot: &Slot<'_>) -> bool {
        let current = self.context.current;
        slot.pair.current.is_some_and(|it| current.credential(it.id, &slot.slot).is_some())
    }

    fn given(
        &mut self,
        field: &str,
        slot: &Slot<'_>,
        given: &SecretString,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        let current = self.context.current;
        let stored = slot.pair.current.and_then(|it| current.credential(it.id, &slot.slot));
        if let Some(stored) = stored {
            let stored = self.context.keyring.open(stored, slot.purpose)?;
            if stored.expose_secret() == given.expose_secret() {
                return Ok(());
            }
        }
        details.push(format!("{field}: {}", if stored.is_some() { "changed" } else { "given" }));
        self.put(slot, Some(given))
    }

    fn put(&mut self, slot: &Slot<'_>, secret: Option<&SecretString>) -> Result<(), SecretError> {
        let seal = |plain| self.context.keyring.seal(plain, slot.purpose, self.context.now.wall);
        self.plan.changes.push(PipelineChange::PutCredential {
            source: slot.pair.source.name.clone(),
            destination: slot.pair.desired.name.clone(),
            slot: slot.slot.clone(),
            secret: secret.map(seal).transpose()?,
        });
        Ok(())
    }

    fn missing(&mut self, pair: DestinationPair<'_>, field: &str, message: &str) {
        let path = self.field_path(pair.source, pair.desired, field);
        self.plan.missing.push(FieldError::new(path, message));
    }
}
