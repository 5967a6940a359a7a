//! The audit log: each change with its entry in the same commit, and the chain over them.

use std::time::Duration;

use postrider::domain::audit::{Action, Entry, NewEntry};
use postrider::domain::auth::{Act, Role};
use postrider::domain::delivery::State;
use postrider::domain::job::{JobAction, JobFilter, NewJob};
use postrider::domain::secret::SealedSecret;
use postrider::store::{AuditQuery, ConnectionChange, ConnectionState, PipelineChange};
use serde_json::{Value, json};

use super::tokens::token;
use super::world::{World, put_mapping};

async fn entries(world: &World, query: AuditQuery) -> Vec<Entry> {
    let limit = if query.limit == 0 { 1_000 } else { query.limit };
    world.store.audit_entries(AuditQuery { limit, ..query }).await.expect("entries")
}

/// The entries since the one with this number, oldest first: action and subject.
async fn since(world: &World, number: i64) -> Vec<(Action, String)> {
    let mut found = entries(world, AuditQuery::default()).await;
    found.retain(|entry| entry.number > number);
    found.reverse();
    found.into_iter().map(|entry| (entry.done.action, entry.done.subject)).collect()
}

async fn last(world: &World) -> i64 {
    entries(world, AuditQuery { limit: 1, ..AuditQuery::default() }).await[0].number
}

fn sealed(byte: u8, world: &World) -> SealedSecret {
    SealedSecret {
        id: [byte; 16],
        key_id: "k".to_owned(),
        sealed: vec![byte; 40],
        created_at: world.now(),
        retires_at: None,
    }
}

pub(crate) async fn each_change_appends_exactly_one_audit_entry(world: World) {
    let start = last(&world).await;
    let secret = |byte| PipelineChange::PutSharedSecret {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
        secret: Some(sealed(byte, &world)),
        retire_at: world.service_now(),
    };
    world.change(vec![secret(1)]).await;
    world.change(vec![secret(2)]).await;
    let url =
        world.store.pipeline().await.expect("read").mappings[0].revision.definition.url.clone();
    let url = url.as_str().expect("a text");
    world.change(vec![put_mapping("crm", "a", url)]).await;
    world.change(vec![put_mapping("crm", "a", "https://elsewhere.test/")]).await;
    world.store.create_token(token("ci", Role::Viewer, 1), world.act()).await.expect("made");
    world.store.create_token(token("root", Role::Admin, 2), world.act()).await.expect("made");
    world.store.revoke_token("ci", world.act()).await.expect("revoked");
    let job = NewJob {
        action: JobAction::Redrive,
        filter: JobFilter { state: Some(State::Dead), ..JobFilter::default() },
        rate_per_second: None,
        actor: "ops".to_owned(),
        note: None,
    };
    let job = world.store.create_job(job, world.act().noted(Some("why".to_owned()))).await;
    let id = job.expect("made").id;
    world.store.advance_job(id, 10, world.moment()).await.expect("stepped");
    world.store.cancel_job(id, world.act()).await.expect("told: it is done already");
    let connected = ConnectionState::Connected { tokens: sealed(3, &world), expires_at: None };
    for (number, state) in [
        (0, connected.clone()),
        (1, connected),
        (2, ConnectionState::Lost { fault: "x".to_owned() }),
    ] {
        let change = ConnectionChange {
            destination_id: world.a.destination_id,
            expected_number: number,
            state,
        };
        world.store.change_connection(change, world.act()).await.expect("changed");
    }
    let told = since(&world, start).await;
    let told: Vec<_> = told.iter().map(|(action, subject)| (*action, subject.as_str())).collect();
    let job = told[6].1;
    assert!(job.starts_with("job_"));
    let expected = [
        (Action::Change, "web/crm"),
        (Action::Change, "web/crm"),
        (Action::Change, "web/crm/a"),
        (Action::CreateToken, "ci"),
        (Action::CreateToken, "root"),
        (Action::RevokeToken, "ci"),
        (Action::Redrive, job),
        (Action::FinishJob, job),
        (Action::Connect, "web/crm"),
        (Action::Disconnect, "web/crm"),
    ];
    assert_eq!(told, expected);
}

pub(crate) async fn a_failed_change_appends_no_audit_entry(world: World) {
    let start = last(&world).await;
    let version = world.store.pipeline().await.expect("read").version;
    let put = || put_mapping("crm", "new", "https://new.test/");
    let wrong = PipelineChange::RemoveSource { source: "nowhere".to_owned() };
    assert!(world.store.change_pipeline(version, vec![put(), wrong], world.act()).await.is_err());
    assert!(world.store.change_pipeline(version + 1, vec![put()], world.act()).await.is_err());
    world.store.create_token(token("root", Role::Admin, 1), world.act()).await.expect("made");
    assert!(world.store.create_token(token("root", Role::Admin, 2), world.act()).await.is_err());
    world.store.revoke_token("root", world.act()).await.expect("told: the last admin");
    assert_eq!(since(&world, start).await, [(Action::CreateToken, "root".to_owned())]);
}

pub(crate) async fn a_removal_is_audited_with_everything_it_removes(world: World) {
    let start = last(&world).await;
    world.change(vec![PipelineChange::RemoveSource { source: "web".to_owned() }]).await;
    let mut told = since(&world, start).await;
    assert!(told.iter().all(|(action, _)| *action == Action::Remove));
    told.sort_by(|a, b| a.1.cmp(&b.1));
    let paths: Vec<_> = told.iter().map(|(_, subject)| subject.as_str()).collect();
    assert_eq!(paths, ["web", "web/crm", "web/crm/a", "web/crm/b", "web/erp", "web/erp/c"]);
    let query = AuditQuery { subject: Some("web/crm/a".to_owned()), ..AuditQuery::default() };
    let removed = &entries(&world, query).await[0];
    assert_eq!(removed.done.after, None);
    assert_eq!(removed.done.before.as_ref().map(|it| &it["revision"]), Some(&json!(1)));
}

pub(crate) async fn audit_entries_are_filtered_by_every_condition(world: World) {
    let note = async |actor: &str, action, subject: &str, seconds| {
        let at = world.now() + Duration::from_secs(seconds);
        let act = Act { actor: actor.to_owned(), at, ..world.act() };
        let done = NewEntry {
            action,
            subject: subject.to_owned(),
            before: None,
            after: Some(Value::from(1.5)),
        };
        world.store.append_audit(act, done).await.expect("noted");
    };
    let start = last(&world).await;
    note("x", Action::SignIn, "x", 10).await;
    note("y", Action::TestSend, "web/crm/a", 20).await;
    note("y", Action::TestSend, "web/crmx", 30).await;
    let found = async |query: AuditQuery| -> Vec<i64> {
        let mut found = entries(&world, query).await;
        found.retain(|entry| entry.number > start);
        found.iter().map(|entry| entry.number - start).collect()
    };
    let all = AuditQuery::default;
    assert_eq!(found(all()).await, [3, 2, 1]);
    assert_eq!(found(AuditQuery { actor: Some("x".to_owned()), ..all() }).await, [1]);
    assert_eq!(found(AuditQuery { action: Some(Action::TestSend), ..all() }).await, [3, 2]);
    assert_eq!(found(AuditQuery { subject: Some("web/crm".to_owned()), ..all() }).await, [2]);
    let within = Some(vec!["web/crm".to_owned()]);
    assert_eq!(found(AuditQuery { within, ..all() }).await, [2]);
    assert_eq!(found(AuditQuery { within: Some(Vec::new()), ..all() }).await, [0; 0]);
    let at = |seconds| Some(world.now() + Duration::from_secs(seconds));
    assert_eq!(found(AuditQuery { from: at(20), until: at(30), ..all() }).await, [2]);
    assert_eq!(found(AuditQuery { before: Some(start + 3), limit: 1, ..all() }).await, [2]);
}

pub(crate) async fn the_audit_chain_verifies_after_a_restart(mut world: World) {
    let before = world.store.verify_audit().await.expect("verified");
    assert!(before.count > 0 && before.broken.is_none());
    world.reopen().await;
    world.store.create_token(token("ci", Role::Viewer, 1), world.act()).await.expect("made");
    let after = world.store.verify_audit().await.expect("verified");
    assert_eq!((after.count, after.broken), (before.count + 1, None));
    let kept = world.store.audit_hash(before.count).await.expect("read");
    assert_eq!(kept, Some(before.head));
    assert_eq!(world.store.audit_hash(after.count + 1).await.expect("read"), None);
    let entry = &entries(&world, AuditQuery { limit: 1, ..AuditQuery::default() }).await[0];
    assert_eq!((entry.hash, entry.number), (after.head, after.count));
    assert_eq!(entry.act, world.act());
}
