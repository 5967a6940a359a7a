//! What is set up: changes by name, versions, revisions, removal.

use std::time::Duration;

use postrider::domain::destination::{DeliveryPolicy, DestinationSettings, OnGone, XSignatureKey};
use postrider::domain::mapping::MappingRevision;
use postrider::domain::outbound_auth::{Auth, ClientAuth, CodeClient, OauthClient};
use postrider::domain::secret::SealedSecret;
use postrider::store::{
    AuditQuery, ConnectionChange, ConnectionState, CredentialSlot, PipelineChange, StoreError,
};
use serde_json::json;

use super::world::{World, definition, put_destination, put_mapping};

fn sealed(byte: u8, world: &World) -> SealedSecret {
    SealedSecret {
        id: [byte; 16],
        key_id: "k-1".to_owned(),
        sealed: vec![byte; 40],
        created_at: world.now(),
        retires_at: None,
    }
}

fn put_secret(secret: Option<SealedSecret>, world: &World) -> PipelineChange {
    PipelineChange::PutSharedSecret {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
        secret,
        retire_at: world.service_now() + Duration::from_secs(60),
    }
}

fn auth() -> Auth {
    Auth::AuthorizationCode(CodeClient {
        authorize_url: "https://id.test/authorize".to_owned(),
        refresh_url: None,
        client: OauthClient {
            token_url: "https://id.test/token".to_owned(),
            client_id: "client".to_owned(),
            client_auth: ClientAuth::Body,
            scopes: vec!["events".to_owned()],
            parameters: [("audience".to_owned(), "x".to_owned())].into(),
            token_prefix: None,
        },
    })
}

fn put_credential(slot: CredentialSlot, secret: Option<SealedSecret>) -> PipelineChange {
    PipelineChange::PutCredential {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
        slot,
        secret,
    }
}

pub(crate) async fn credentials_are_stored_by_slot(mut world: World) {
    let header = |name: &str| CredentialSlot::Header(name.to_owned());
    let put = vec![
        put_credential(header("x-key"), Some(sealed(1, &world))),
        put_credential(CredentialSlot::ClientSecret, Some(sealed(2, &world))),
        put_credential(header("x-tenant"), Some(sealed(3, &world))),
        put_credential(CredentialSlot::BearerToken, Some(sealed(4, &world))),
    ];
    world.change(put).await;
    let change = vec![
        put_credential(header("x-key"), Some(sealed(5, &world))),
        put_credential(CredentialSlot::BearerToken, None),
    ];
    world.change(change).await;
    world.reopen().await;
    let pipeline = world.store.pipeline().await.expect("read");
    let found: Vec<_> = pipeline.credentials.iter().map(|one| (&one.slot, &one.secret)).collect();
    let expected = [
        (&CredentialSlot::ClientSecret, &sealed(2, &world)),
        (&header("x-key"), &sealed(5, &world)),
        (&header("x-tenant"), &sealed(3, &world)),
    ];
    assert_eq!(found, expected);
    let id = world.a.destination_id;
    assert_eq!(pipeline.credential(id, &header("x-key")), Some(&sealed(5, &world)));
    let remove = PipelineChange::RemoveDestination {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
    };
    world.change(vec![remove]).await;
    assert!(world.store.pipeline().await.expect("read").credentials.is_empty());
}

pub(crate) async fn a_connection_update_with_a_stale_number_conflicts(mut world: World) {
    let destination_id = world.a.destination_id;
    let connected = |byte: u8, world: &World| ConnectionState::Connected {
        tokens: sealed(byte, world),
        expires_at: Some(world.now()),
    };
    let put = async |world: &World, expected_number, state| {
        let change = ConnectionChange { destination_id, expected_number, state };
        world.store.change_connection(change, world.act()).await
    };
    let lost = || ConnectionState::Lost { fault: "revoked".to_owned() };
    let read = async |world: &World| {
        let pipeline = world.store.pipeline().await.expect("read");
        pipeline.connection(destination_id).cloned().expect("a connection")
    };
    assert!(matches!(put(&world, 1, lost()).await, Err(StoreError::Conflict)));
    let first = connected(1, &world);
    assert_eq!(put(&world, 0, first).await.expect("connected"), 1);
    let since = world.now();
    world.clock.advance(Duration::from_secs(1));
    let second = connected(2, &world);
    assert_eq!(put(&world, 1, second.clone()).await.expect("refreshed"), 2);
    assert!(matches!(put(&world, 1, lost()).await, Err(StoreError::Conflict)), "a stale number");
    world.reopen().await;
    let found = read(&world).await;
    assert_eq!((found.number, found.connected_at), (2, Some(since)), "refreshed, not reconnected");
    assert_eq!(found.state, second);
    assert_eq!(world.store.pipeline().await.expect("read").version, 1, "no change of the pipeline");

    assert_eq!(put(&world, 2, lost()).await.expect("lost"), 3);
    assert_eq!(read(&world).await.state, lost());
    let again = connected(3, &world);
    assert_eq!(put(&world, 3, again).await.expect("again"), 4);
    assert_eq!(read(&world).await.connected_at, Some(world.now()), "a window from here");

    let end = || PipelineChange::Disconnect {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
        fault: "changed".to_owned(),
    };
    world.change(vec![end()]).await;
    let found = read(&world).await;
    assert_eq!(found.state, ConnectionState::Lost { fault: "changed".to_owned() });
    assert_eq!(found.number, 5);
    let remove = PipelineChange::RemoveDestination {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
    };
    world.change(vec![remove]).await;
    assert!(world.store.pipeline().await.expect("read").connections.is_empty());
    let late = connected(4, &world);
    assert!(matches!(put(&world, 0, late).await, Err(StoreError::Conflict)), "it is gone");
    world.check().await;
}

pub(crate) async fn a_destination_that_no_longer_needs_a_connection_resumes(world: World) {
    let put = |auth| PipelineChange::PutDestination {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
        enabled: true,
        settings: DestinationSettings { auth, ..Default::default() },
    };
    let resumed_at =
        async || world.store.pipeline().await.expect("read").destinations[0].resumed_at;
    for kind in [auth(), auth()] {
        world.clock.advance(Duration::from_secs(1));
        world.change(vec![put(kind)]).await;
        assert_eq!(resumed_at().await, super::STARTED);
    }
    world.clock.advance(Duration::from_secs(1));
    world.change(vec![put(Auth::Bearer)]).await;
    assert_eq!(resumed_at().await, world.service_now());
    world.clock.advance(Duration::from_secs(1));
    world.change(vec![put(Auth::None)]).await;
    assert_ne!(resumed_at().await, world.service_now());
}

pub(crate) async fn a_saved_pipeline_reads_back_unchanged(mut world: World) {
    let settings = DestinationSettings {
        timeout_ms: 2_000,
        window_ms: 60_000,
        max_in_flight: 3,
        rate_per_second: Some(7),
        policy: DeliveryPolicy::Any,
        auth: auth(),
        allowed_hosts: vec!["*.rich.test".to_owned()],
        allow_http: true,
        x_signature: XSignatureKey::Previous,
        on_gone: OnGone::Pause,
        secret_header_names: vec!["X-Key".to_owned()],
    };
    let mut rich = definition("https://rich.test/");
    rich.trigger = "type = \"track\"".to_owned();
    rich.headers.insert("x-b".to_owned(), json!("1"));
    rich.headers.insert("x-a".to_owned(), json!({"@path": "$.userId"}));
    rich.data = Some(json!({"z": 1, "a": {"@path": "$.properties"}}));
    let change = vec![
        PipelineChange::PutWriteKey {
            source: "web".to_owned(),
            digest: [9; 32],
            sealed: sealed(1, &world),
        },
        PipelineChange::PutDestination {
            source: "web".to_owned(),
            destination: "lab".to_owned(),
            enabled: false,
            settings: settings.clone(),
        },
        PipelineChange::PutMapping {
            source: "web".to_owned(),
            destination: "lab".to_owned(),
            mapping: "rich".to_owned(),
            enabled: false,
            definition: rich.clone(),
        },
        put_secret(Some(sealed(2, &world)), &world),
    ];
    assert_eq!(world.change(change).await, 2);
    world.reopen().await;
    let pipeline = world.store.pipeline().await.expect("read");
    assert_eq!(pipeline.version, 2);
    let names: Vec<_> = pipeline.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["app", "web"]);
    let key = &pipeline.write_keys[0];
    assert_eq!((key.source_id, key.digest, &key.sealed), (world.web, [9; 32], &sealed(1, &world)));
    let names: Vec<_> = pipeline.destinations.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["crm", "erp", "lab"]);
    let lab = &pipeline.destinations[2];
    assert_eq!((&lab.settings, lab.enabled, lab.source_id), (&settings, false, world.web));
    assert_eq!(pipeline.shared_secrets[0].destination_id, world.a.destination_id);
    assert_eq!(pipeline.shared_secrets[0].secret, sealed(2, &world));
    let mapping = &pipeline.mappings[3];
    assert_eq!((mapping.name.as_str(), mapping.enabled), ("rich", false));
    assert_eq!((mapping.revision.number, &mapping.revision.definition), (1, &rich));
    let order: Vec<_> = mapping.revision.definition.headers.keys().collect();
    assert_eq!(order, ["x-b", "x-a"], "an object's keys keep their order");
    world.check().await;
}

pub(crate) async fn a_stale_version_changes_nothing(world: World) {
    for version in [0, 2, -1] {
        let change = vec![PipelineChange::PutSource { source: "new".to_owned(), enabled: true }];
        let result = world.store.change_pipeline(version, change, world.act()).await;
        assert!(matches!(result, Err(StoreError::Conflict)), "version {version}");
    }
    assert_eq!(world.store.pipeline().await.expect("read").sources.len(), 2);
}

pub(crate) async fn a_failed_change_rolls_back_the_whole_request(world: World) {
    let remove = PipelineChange::RemoveMapping {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
        mapping: "no such".to_owned(),
    };
    let change = vec![put_mapping("crm", "new", "https://new.test/"), remove];
    let changed = world.store.change_pipeline(1, change, world.act()).await;
    assert!(matches!(changed, Err(StoreError::Conflict)));
    let pipeline = world.store.pipeline().await.expect("read");
    assert_eq!((pipeline.version, pipeline.mappings.len()), (1, 3));
    // A sealed secret that is there already is SQLite's to refuse, and the others in its commit go on.
    let secret = |destination: &str| PipelineChange::PutSharedSecret {
        source: "web".to_owned(),
        destination: destination.to_owned(),
        secret: Some(sealed(1, &world)),
        retire_at: world.service_now(),
    };
    let twice = vec![secret("crm"), secret("erp")];
    let accept = world.accept("m-1", vec![world.pending(world.a)]);
    let (changed, _) =
        futures_util::future::join(world.store.change_pipeline(1, twice, world.act()), accept)
            .await;
    assert!(matches!(changed, Err(StoreError::Database { .. })));
    assert!(world.store.pipeline().await.expect("read").shared_secrets.is_empty());
    assert_eq!(world.store.ledger().await.expect("the ledger").accepted, 1);
    world.check().await;
}

pub(crate) async fn an_unchanged_definition_creates_no_revision(world: World) {
    let first = world.store.pipeline().await.expect("read").mappings[0].clone();
    world.change(vec![put_mapping("crm", "a", "https://a.test/")]).await;
    let same = world.store.pipeline().await.expect("read").mappings[0].clone();
    assert_eq!(same, first);
    world.clock.advance(Duration::from_secs(1));
    world.change(vec![put_mapping("crm", "a", "https://other.test/")]).await;
    let other = world.store.pipeline().await.expect("read").mappings[0].clone();
    assert_eq!((other.id, other.revision.number), (first.id, 2));
    assert_ne!(other.revision.id, first.revision.id);
    assert_eq!(other.revision.created_at, world.now());
    assert_eq!(other.created_at, first.created_at);
}

pub(crate) async fn enabling_a_mapping_resumes_its_deliveries(world: World) {
    let resumed_at = |pipeline: &postrider::store::Pipeline| {
        (pipeline.destinations[0].resumed_at, pipeline.mappings[0].resumed_at)
    };
    let mapping = |enabled| PipelineChange::PutMapping {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
        mapping: "a".to_owned(),
        enabled,
        definition: definition("https://a.test/"),
    };
    for enabled in [true, false] {
        world.clock.advance(Duration::from_secs(1));
        world.change(vec![put_destination("crm", enabled), mapping(enabled)]).await;
        let pipeline = world.store.pipeline().await.expect("read");
        assert_eq!(resumed_at(&pipeline), (super::STARTED, super::STARTED));
        assert_eq!(pipeline.destinations[0].enabled, enabled);
        assert_eq!(pipeline.mappings[0].enabled, enabled);
    }
    world.clock.advance(Duration::from_secs(1));
    world.change(vec![put_destination("crm", true), mapping(true)]).await;
    let pipeline = world.store.pipeline().await.expect("read");
    assert_eq!(resumed_at(&pipeline), (world.service_now(), world.service_now()));
}

pub(crate) async fn a_removed_name_can_be_reused(world: World) {
    let remove = PipelineChange::RemoveDestination {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
    };
    world.change(vec![put_secret(Some(sealed(1, &world)), &world)]).await;
    let again =
        vec![remove, put_destination("crm", true), put_mapping("crm", "a", "https://a.test/")];
    world.change(again).await;
    let pipeline = world.store.pipeline().await.expect("read");
    assert_ne!(pipeline.destinations[0].id, world.a.destination_id);
    assert_ne!(pipeline.mappings[0].id, world.a.mapping_id);
    assert_eq!((pipeline.mappings.len(), pipeline.mappings[0].revision.number), (2, 1));
    assert!(pipeline.shared_secrets.is_empty());
    world.check().await;
}

pub(crate) async fn removing_a_source_removes_its_destinations_and_mappings(world: World) {
    let key = PipelineChange::PutWriteKey {
        source: "web".to_owned(),
        digest: [9; 32],
        sealed: sealed(1, &world),
    };
    world.change(vec![key.clone()]).await;
    let id = world.accept_pending("m-1", world.a).await;
    world.change(vec![PipelineChange::RemoveSource { source: "web".to_owned() }]).await;
    let pipeline = world.store.pipeline().await.expect("read");
    assert_eq!(pipeline.sources.len(), 1);
    assert_eq!((pipeline.destinations.len(), pipeline.mappings.len()), (0, 0));
    assert!(pipeline.write_keys.is_empty());
    // Its deliveries are still there to be seen, and its name and key are free.
    assert_eq!(world.delivery(id).await.mapping_id, world.a.mapping_id);
    world
        .change(vec![PipelineChange::PutSource { source: "web".to_owned(), enabled: true }, key])
        .await;
    assert_eq!(world.store.pipeline().await.expect("read").sources.len(), 2);
    world.check().await;
}

pub(crate) async fn a_replaced_secret_retires(world: World) {
    let ids = |pipeline: postrider::store::Pipeline| -> Vec<(u8, bool)> {
        let secrets = pipeline.shared_secrets.into_iter();
        secrets.map(|one| (one.secret.id[0], one.secret.retires_at.is_some())).collect()
    };
    for byte in 1..=3 {
        world.change(vec![put_secret(Some(sealed(byte, &world)), &world)]).await;
    }
    let pipeline = world.store.pipeline().await.expect("read");
    let retires_at = pipeline.shared_secrets[1].secret.retires_at;
    assert_eq!(retires_at, Some(world.service_now() + Duration::from_secs(60)));
    assert_eq!(ids(pipeline), [(3, false), (2, true)]);
    world.change(vec![put_secret(None, &world)]).await;
    assert!(world.store.pipeline().await.expect("read").shared_secrets.is_empty());
}

pub(crate) async fn revisions_are_paginated_newest_first(world: World) {
    let id = world.a.mapping_id;
    for number in 2..=4 {
        let url = format!("https://revision-{number}.test/");
        world.change(vec![put_mapping("crm", "a", &url)]).await;
    }
    let numbers = async |before: Option<u32>, limit: u32| -> Vec<u32> {
        let found = world.store.revisions(id, before, limit).await.expect("read");
        let by = |it: &MappingRevision| it.number == 1 || it.created_by == world.act().actor;
        assert!(found.iter().all(by), "{found:?}");
        found.iter().map(|it| it.number).collect()
    };
    assert_eq!(numbers(None, 2).await, [4, 3]);
    assert_eq!(numbers(Some(3), 10).await, [2, 1]);
    assert_eq!(numbers(Some(1), 10).await, [0_u32; 0]);
    let other = world.store.revisions(world.b.mapping_id, None, 10).await.expect("read");
    assert_eq!(other.len(), 1, "of no other mapping");
}

fn put_write_key(source: &str, key: u8, world: &World) -> PipelineChange {
    let sealed = sealed(key, world);
    PipelineChange::PutWriteKey { source: source.to_owned(), digest: [key; 32], sealed }
}

pub(crate) async fn write_keys_move_between_sources_in_any_order(world: World) {
    let put_key = |source: &str, key| put_write_key(source, key, &world);
    let put = |source: &str| PipelineChange::PutSource { source: source.to_owned(), enabled: true };
    let holders = async || {
        let pipeline = world.store.pipeline().await.expect("read");
        let name = |id| pipeline.sources.iter().find(|it| it.id == id).map(|it| it.name.clone());
        let keys = pipeline.write_keys.iter().filter(|key| matches!(key.digest[0], 201 | 202));
        let mut holders: Vec<_> = keys.map(|it| (name(it.source_id), it.digest[0])).collect();
        holders.sort();
        holders
    };
    let held = |a: u8, b: u8| vec![(Some("one".to_owned()), a), (Some("two".to_owned()), b)];
    let keys = [put_key("one", 201), put_key("two", 202)];
    world.change([put("one"), put("two")].into_iter().chain(keys).collect()).await;
    assert_eq!(holders().await, held(201, 202));
    world.change(vec![put_key("one", 202), put_key("two", 201)]).await;
    assert_eq!(holders().await, held(202, 201));
    let remove = PipelineChange::RemoveSource { source: "two".to_owned() };
    world.change(vec![put("three"), put_key("three", 201), remove]).await;
    let held = [(Some("one".to_owned()), 202), (Some("three".to_owned()), 201)];
    assert_eq!(holders().await, held);
}

pub(crate) async fn renamed_rows_keep_their_keys_and_may_exchange_names(world: World) {
    let names = async || {
        let pipeline = world.store.pipeline().await.expect("read");
        let mut names: Vec<_> =
            pipeline.mappings.iter().map(|it| (it.id, it.name.clone())).collect();
        names.sort();
        let source = pipeline.sources.iter().find(|it| it.id == world.web);
        (source.map(|it| it.name.clone()), names)
    };
    let rename = |mapping: &str, to: &str| PipelineChange::RenameMapping {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
        mapping: mapping.to_owned(),
        to: to.to_owned(),
    };
    let (_, before) = names().await;
    let source = PipelineChange::RenameSource { source: "web".to_owned(), to: "site".to_owned() };
    world.change(vec![source, rename("a", "b"), rename("b", "a")]).await;
    let (source, after) = names().await;
    assert_eq!(source.as_deref(), Some("site"));
    let exchanged = |name: &str| match name {
        "a" => "b".to_owned(),
        "b" => "a".to_owned(),
        other => other.to_owned(),
    };
    let expected: Vec<_> = before.iter().map(|(id, name)| (*id, exchanged(name))).collect();
    assert_eq!(after, expected);
    let newest = AuditQuery { limit: 3, ..AuditQuery::default() };
    let entries = world.store.audit_entries(newest).await.expect("read");
    let mut subjects: Vec<_> = entries.into_iter().map(|it| it.done.subject).collect();
    subjects.sort();
    assert_eq!(subjects, ["site", "site/crm/a", "site/crm/b"]);
}

pub(crate) async fn a_large_change_is_applied_in_parts_that_events_come_between(world: World) {
    let mut changes = Vec::new();
    for number in 0..300 {
        let source = format!("s{number}");
        changes.push(PipelineChange::PutSource { source: source.clone(), enabled: true });
        changes.push(PipelineChange::PutDestination {
            source: source.clone(),
            destination: "d".to_owned(),
            enabled: true,
            settings: DestinationSettings::default(),
        });
        changes.push(PipelineChange::PutMapping {
            source,
            destination: "d".to_owned(),
            mapping: "m".to_owned(),
            enabled: true,
            definition: definition("https://a.test/"),
        });
    }
    let done = std::cell::Cell::new(false);
    let change = async {
        let version = world.store.change_pipeline(1, changes, world.act()).await;
        done.set(true);
        version.expect("changed")
    };
    let accept = async {
        let mut events = 0;
        while !done.get() {
            world.accept_pending(&format!("m-{events}"), world.a).await;
            events += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        events
    };
    let read = async {
        let mut reads = Vec::new();
        while !done.get() {
            let pipeline = world.store.pipeline().await.expect("read");
            reads.push((pipeline.version, pipeline.sources.len(), pipeline.mappings.len()));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        reads
    };
    let (version, events, reads) = futures_util::future::join3(change, accept, read).await;
    assert!(version == 2 && events >= 3, "{events} events came between the parts");
    for read in reads {
        assert!(matches!(read, (1, 2, 3) | (2, 302, 303)), "a part was read: {read:?}");
    }
    let pipeline = world.store.pipeline().await.expect("read");
    assert_eq!((pipeline.version, pipeline.mappings.len()), (2, 303));
    let verdict = world.store.verify_audit().await.expect("verified");
    assert_eq!(verdict.broken, None);
    let stale = vec![PipelineChange::PutSource { source: "x".to_owned(), enabled: true }; 600];
    let changed = world.store.change_pipeline(1, stale, world.act()).await;
    assert!(matches!(changed, Err(StoreError::Conflict)));
    assert_eq!(world.store.pipeline().await.expect("read").sources.len(), 302);
}
