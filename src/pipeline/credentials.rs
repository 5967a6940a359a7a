//! The difference in what authorizes a destination's requests: tokens, client secrets, secret
//! headers, and whether its connection outlives the change. Values are compared, never shown.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};

use super::Fault;
use super::document::{DestinationDocument, GivenSecret, SourceDocument};
use super::plan::{Absent, NOTHING_KEPT, Planning, is_kept, value};
use crate::domain::destination::Destination;
use crate::domain::outbound_auth::Auth;
use crate::settings::secrets::{Purpose, SecretError};
use crate::store::{ConnectionState, CredentialSlot, PipelineChange};

/// A destination in the document, and as it is.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) source: &'a SourceDocument,
    pub(super) wanted: &'a DestinationDocument,
    pub(super) current: Option<&'a Destination>,
}

impl Pair<'_> {
    fn change(&self, slot: CredentialSlot, purpose: Purpose) -> Slot<'_> {
        Slot { pair: *self, slot, purpose }
    }
}

struct Slot<'a> {
    pair: Pair<'a>,
    slot: CredentialSlot,
    purpose: Purpose,
}

impl Planning<'_> {
    /// Everything but the settings, which are in place by now.
    pub(super) fn credentials(
        &mut self,
        pair: Pair<'_>,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        self.connection(pair, details);
        let auth = pair.wanted.auth.as_ref();
        let wanted = pair.wanted.settings().auth;
        let (token, secret) = match &wanted {
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
        self.secret_headers(pair, details)
    }

    /// A connection is of one client at one server.
    fn connection(&mut self, pair: Pair<'_>, details: &mut Vec<String>) {
        let Some(current) = pair.current else { return };
        let before = &current.settings.auth;
        if !before.needs_connection() || before.keeps_connection(&pair.wanted.settings().auth) {
            return;
        }
        let connection = self.terms.current.connection(current.id).map(|one| &one.state);
        if matches!(connection, Some(ConnectionState::Connected { .. })) {
            details.push("connection: ends with this change".to_owned());
        }
        self.plan.changes.push(PipelineChange::Disconnect {
            source: pair.source.name.clone(),
            destination: pair.wanted.name.clone(),
            fault: "its auth was changed".to_owned(),
        });
    }

    /// The secret of an auth: `given` is none when the kind has none, and holds none when it was
    /// left out.
    fn of_auth(
        &mut self,
        field: &'static str,
        slot: &Slot<'_>,
        given: Option<Option<&GivenSecret>>,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        let is_held = self.holds(slot);
        let Some(given) = given else {
            if is_held {
                details.push(format!("auth.{field}: removed"));
                self.put(slot, None)?;
            }
            return Ok(());
        };
        if let Some(given) = value(given) {
            return self.given(&format!("auth.{field}"), slot, given, details);
        }
        let wanted = slot.pair.wanted.settings().auth;
        let fits = slot.pair.current.is_some_and(|it| it.settings.auth.keeps_secret(&wanted));
        let is_left_out = given.is_none() && self.terms.absent == Absent::SecretsGo;
        let field = &format!("auth.{field}");
        match (is_held, fits) {
            (true, true) if !is_left_out => {}
            (true, _) if is_left_out && wanted.needs_connection() => {
                details.push(format!("{field}: removed"));
                self.put(slot, None)?;
            }
            // Only whoever knows the secret may send it elsewhere.
            (true, false) if !is_left_out => self.missing(
                slot.pair,
                field,
                "should be given again: what it is kept for has changed",
            ),
            (false, _) if is_kept(given) => self.missing(slot.pair, field, NOTHING_KEPT),
            (false, _) if wanted.needs_connection() => {}
            (true | false, _) => self.missing(slot.pair, field, "is needed with this kind"),
        }
        Ok(())
    }

    fn secret_headers(
        &mut self,
        pair: Pair<'_>,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        let nothing = BTreeMap::new();
        let wanted = match &pair.wanted.secret_headers {
            Some(headers) => headers,
            None if self.terms.absent == Absent::Kept => return Ok(()),
            None => &nothing,
        };
        for (name, given) in wanted {
            let slot = CredentialSlot::Header(name.to_ascii_lowercase());
            if let Some(given) = value(Some(given)) {
                let slot = pair.change(slot, Purpose::SecretHeader);
                self.given(&format!("secret_headers.{name}"), &slot, given, details)?;
            } else if !self.holds(&pair.change(slot, Purpose::SecretHeader)) {
                self.missing(pair, &format!("secret_headers.{name}"), NOTHING_KEPT);
            }
        }
        let is_wanted = |held: &String| wanted.keys().any(|name| name.eq_ignore_ascii_case(held));
        let held = self.terms.current.credentials.iter();
        let held = held.filter(|one| pair.current.is_some_and(|it| it.id == one.destination_id));
        let surplus: Vec<String> = held
            .filter_map(|one| match &one.slot {
                CredentialSlot::Header(name) if !is_wanted(name) => Some(name.clone()),
                CredentialSlot::Header(_)
                | CredentialSlot::BearerToken
                | CredentialSlot::ClientSecret => None,
            })
            .collect();
        for name in surplus {
            details.push(format!("secret_headers.{name}: removed"));
            self.put(&pair.change(CredentialSlot::Header(name), Purpose::SecretHeader), None)?;
        }
        Ok(())
    }

    fn holds(&self, slot: &Slot<'_>) -> bool {
        let current = self.terms.current;
        slot.pair.current.is_some_and(|it| current.credential(it.id, &slot.slot).is_some())
    }

    fn given(
        &mut self,
        field: &str,
        slot: &Slot<'_>,
        given: &SecretString,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        let current = self.terms.current;
        let held = slot.pair.current.and_then(|it| current.credential(it.id, &slot.slot));
        if let Some(held) = held {
            let held = self.terms.keyring.open(held, slot.purpose)?;
            if held.expose_secret() == given.expose_secret() {
                return Ok(());
            }
        }
        details.push(format!("{field}: {}", if held.is_some() { "changed" } else { "given" }));
        self.put(slot, Some(given))
    }

    fn put(&mut self, slot: &Slot<'_>, secret: Option<&SecretString>) -> Result<(), SecretError> {
        let seal = |plain| self.terms.keyring.seal(plain, slot.purpose, self.terms.now);
        self.plan.changes.push(PipelineChange::PutCredential {
            source: slot.pair.source.name.clone(),
            destination: slot.pair.wanted.name.clone(),
            slot: slot.slot.clone(),
            secret: secret.map(seal).transpose()?,
        });
        Ok(())
    }

    fn missing(&mut self, pair: Pair<'_>, field: &str, message: &str) {
        let path = self.place(pair.source, pair.wanted, field);
        self.plan.missing.push(Fault::new(path, message));
    }
}
