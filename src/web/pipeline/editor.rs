//! The handlers that the pages of sources, destinations and mappings share: show, create, save, enable,
//! rotate a secret, delete. [`Editor`] is what differs. A rejected form is shown again with its faults.

use std::future::Future;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::super::error::PageError;
use super::super::flash::{Flash, SeeOther};
use super::super::form::{Form, Query};
use super::super::layout::Layout;
use super::super::role::Require;
use super::super::state::Web;
use super::secret::reveal;
use super::target::{ParentTarget, PathTarget, child, path};
use crate::domain::auth::{Admin, Caller};
use crate::domain::destination::XSignatureKey;
use crate::pipeline::{Change, Changed, Guard, Target};
use crate::service::ServiceError;
use crate::service::resources::{Detail, Tagged};

/// The form field with the tag of the version that was edited.
pub(super) const TAG: &str = "tag";
/// The field of the fault that reports an edit conflict.
pub(super) const CONFLICT: &str = "stale";

/// What a page is rendered for.
pub(super) struct PageContext<'a> {
    pub(super) web: &'a Web,
    pub(super) caller: &'a Caller,
    pub(super) layout: Layout,
    /// The query string.
    pub(super) query: Form,
}

impl<'a> PageContext<'a> {
    /// Without a query string.
    pub(super) fn of(web: &'a Web, caller: &'a Caller, layout: Layout) -> Self {
        Self { web, caller, layout, query: Form::default() }
    }
}

/// The form of a source, destination or mapping.
pub(super) trait Editor: Sized + Send {
    /// The fields that show their own faults.
    const FIELDS: &'static [&'static str];

    /// The form of a new object.
    fn blank() -> Self;

    /// The form of the stored version.
    ///
    /// # Errors
    /// [`PageError`] when the version is of another noun.
    fn stored(version: Tagged) -> Result<Self, PageError>;

    /// A submitted form, with the stored version that it edits; none for a new object.
    ///
    /// # Errors
    /// [`PageError`] when the version is of another noun, or no secret can be generated.
    fn submitted(form: Form, current: Option<Tagged>) -> Result<Self, PageError>;

    fn form(&mut self) -> &mut Form;

    /// The document that the form describes, without its name; what cannot be parsed becomes a fault.
    fn document(&mut self) -> Value;

    /// The secret that was generated for a new object.
    fn generated_secret(&self) -> Option<&SecretString> {
        None
    }

    /// The message after a new object was created.
    fn created(&self) -> Option<Flash> {
        None
    }

    /// The message after a save.
    fn saved(before: &Detail, after: &Detail) -> Flash;

    /// The page of the stored object, before a form is submitted.
    fn first_page(
        self,
        context: PageContext<'_>,
        target: &Target,
    ) -> impl Future<Output = Result<Response, PageError>> + Send {
        self.page(context, target)
    }

    /// The page of the stored object with this form.
    fn page(
        self,
        context: PageContext<'_>,
        target: &Target,
    ) -> impl Future<Output = Result<Response, PageError>> + Send;

    /// The page that creates an object below `parent`, with this form.
    fn new_page(
        self,
        context: PageContext<'_>,
        parent: Option<&Target>,
    ) -> impl Future<Output = Result<Response, PageError>> + Send;
}

/// The page of a stored object.
pub(super) async fn show<E: Editor>(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    PathTarget(target): PathTarget,
    Query(query): Query,
) -> Result<Response, PageError> {
    let version = web.service.detail(&caller, &target).await?;
    let context = PageContext { query, ..PageContext::of(&web, &caller, layout) };
    E::stored(version)?.first_page(context, &target).await
}

/// Saves the form of a stored object.
pub(super) async fn save<E: Editor>(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(admin): Require<Admin>,
    PathTarget(target): PathTarget,
    form: Form,
) -> Result<Response, PageError> {
    let before = web.service.detail(&admin, &target).await?;
    let mut editor = E::submitted(form, Some(before.clone()))?;
    if let Some(changed) = submit(&web, &admin, &target, &mut editor).await? {
        let after = web.service.detail(&admin, &changed.target).await?;
        let flash = if changed.target == target {
            E::saved(&before.detail, &after.detail)
        } else {
            Flash::good(format!("Saved as {}.", changed.target))
        };
        return Ok(SeeOther::to(path(&changed.target)).with_flash(flash).into_response());
    }
    let context = PageContext::of(&web, &admin, layout);
    editor.page(context, &target).await
}

/// The form of a new object.
pub(super) async fn new_form<E: Editor>(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(admin): Require<Admin>,
    ParentTarget(parent): ParentTarget,
) -> Result<Response, PageError> {
    if let Some(parent) = &parent {
        web.service.detail(&admin, parent).await?;
    }
    let context = PageContext::of(&web, &admin, layout);
    E::blank().new_page(context, parent.as_ref()).await
}

/// Creates an object from its form.
pub(super) async fn create<E: Editor>(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(admin): Require<Admin>,
    ParentTarget(parent): ParentTarget,
    form: Form,
) -> Result<Response, PageError> {
    let target = child(parent.as_ref(), form.text("name").trim());
    let mut editor = E::submitted(form, None)?;
    if let Some(changed) = submit(&web, &admin, &target, &mut editor).await? {
        if let Some(secret) = changed.secret.as_ref().or(editor.generated_secret()) {
            return reveal(&web, layout, &target, secret);
        }
        let created = SeeOther { flash: editor.created(), ..SeeOther::to(path(&target)) };
        return Ok(created.into_response());
    }
    let context = PageContext::of(&web, &admin, layout);
    editor.new_page(context, parent.as_ref()).await
}

/// Writes the document of a form, if the object is unchanged since it was read. None when it
/// was rejected: the form then has the faults.
async fn submit<E: Editor>(
    web: &Web,
    admin: &Admin,
    target: &Target,
    editor: &mut E,
) -> Result<Option<Changed>, PageError> {
    let mut document = editor.document();
    let form = editor.form();
    if !form.is_valid() {
        return Ok(None);
    }
    if let Some(name) = form.non_empty("name") {
        document["name"] = name.into();
    }
    let guard = match form.non_empty(TAG) {
        Some(tag) => Guard::Tagged(vec![tag.to_owned()]),
        None => Guard::New,
    };
    match web.service.change(admin, target, &guard, Change::Put(document)).await {
        Ok(changed) => return Ok(Some(changed)),
        Err(ServiceError::Invalid(faults)) => form.place_faults(E::FIELDS, faults),
        Err(ServiceError::Conflict(message)) => form.fault("name", message),
        Err(ServiceError::Stale(message)) => form.fault(CONFLICT, message),
        Err(refusal) => return Err(refusal.into()),
    }
    Ok(None)
}

/// The status of a page with this form.
pub(super) fn status(form: &Form) -> StatusCode {
    if form.is_valid() {
        StatusCode::OK
    } else if form.field(CONFLICT).fault.is_some() {
        StatusCode::PRECONDITION_FAILED
    } else {
        StatusCode::BAD_REQUEST
    }
}

/// The condition that the object is still the version that the page showed.
pub(super) fn unchanged(form: &Form) -> Guard {
    Guard::Tagged(vec![form.text(TAG).to_owned()])
}

/// Enables or disables.
pub(super) async fn set_enabled(
    State(web): State<Arc<Web>>,
    Require(admin): Require<Admin>,
    PathTarget(target): PathTarget,
    form: Form,
) -> Result<SeeOther, PageError> {
    let enabled = form.text("enabled") == "true";
    let change = Change::Patch(json!({"enabled": enabled}));
    web.service.change(&admin, &target, &Guard::Present, change).await?;
    let effect = match (&target, enabled) {
        (Target::Source(_), true) => "enabled: it accepts events",
        (Target::Source(_), false) => "disabled: it refuses events",
        (_, true) => "enabled: held deliveries get a new retry window",
        (_, false) => "disabled: nothing is routed to it and pending deliveries are held",
    };
    let flash = Flash::good(format!("{} is {effect}.", target.name()));
    Ok(SeeOther::to(path(&target)).with_flash(flash))
}

/// Deletes an object with everything below it.
pub(super) async fn delete(
    State(web): State<Arc<Web>>,
    Require(admin): Require<Admin>,
    PathTarget(target): PathTarget,
    form: Form,
) -> Result<SeeOther, PageError> {
    let changed = web.service.change(&admin, &target, &unchanged(&form), Change::Remove).await?;
    let parent = target.parent().map_or("/sources".to_owned(), |parent| path(&parent));
    let waiting = changed.applied.lines.into_iter().flat_map(|line| line.details);
    let told: Vec<_> = std::iter::once(format!("Deleted {target}")).chain(waiting).collect();
    let flash = Flash::good(format!("{}.", told.join(". ")));
    Ok(SeeOther::to(parent).with_flash(flash))
}

/// Signs `X-Signature` with the current shared secret, while the previous one is still active.
pub(super) async fn make_primary(
    State(web): State<Arc<Web>>,
    Require(admin): Require<Admin>,
    PathTarget(target): PathTarget,
    form: Form,
) -> Result<SeeOther, PageError> {
    let change = Change::Patch(json!({"x_signature": "current"}));
    web.service.change(&admin, &target, &unchanged(&form), change).await?;
    let flash = Flash::good("X-Signature is signed by the new shared secret.".to_owned());
    Ok(SeeOther::to(path(&target)).with_flash(flash))
}

/// Generates a new write key or shared secret and shows it, once.
pub(super) async fn rotate_secret(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(admin): Require<Admin>,
    PathTarget(target): PathTarget,
    form: Form,
) -> Result<Response, PageError> {
    let x_signature = match form.text("x_signature") {
        "previous" => XSignatureKey::Previous,
        _ => XSignatureKey::Current,
    };
    let change = Change::Rotate(x_signature);
    let changed = web.service.change(&admin, &target, &unchanged(&form), change).await?;
    match changed.secret {
        Some(secret) => reveal(&web, layout, &target, &secret),
        None => Err(PageError::conflict("No secret was generated.")),
    }
}
