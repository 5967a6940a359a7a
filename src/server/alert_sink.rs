//! The alerts' door to intake.

use std::sync::Arc;

use async_trait::async_trait;

use crate::alerts::{Tell, Told};
use crate::domain::auth::DestinationPath;
use crate::intake::Intake;
use crate::store::StoreError;

pub(super) struct OwnEvents(pub(super) Arc<Intake>);

#[async_trait]
impl Tell for OwnEvents {
    async fn tell(&self, to: &DestinationPath, message: String) -> Result<Told, StoreError> {
        let is_accepted = self.0.accept_internal(to, message).await?;
        Ok(if is_accepted { Told::Accepted } else { Told::NoDestination })
    }
}
