//! Pauses beside the pipeline: idempotent, audited, kept by changes of the pipeline, removed with their subject.

use std::time::Duration;

use postrider::domain::audit::Action;
use postrider::domain::id::MappingId;
use postrider::domain::pause::{Drain, PauseCause, PauseState, PauseTarget};
use postrider::store::{AuditQuery, PipelineChange, StoreError};

use super::world::{World, put_mapping};

async fn audited(world: &World, action: Action) -> usize {
    let query = AuditQuery { action: Some(action), limit: 100, ..AuditQuery::default() };
    world.store.audit_entries(query).await.expect("the audit log").len()
}

pub(crate) async fn a_pause_is_idempotent_and_keeps_who_paused_since_when(mut world: World) {
    let target = PauseTarget::Mapping(world.a.mapping_id);
    let paused_at = world.now();
    let pause = async |world: &World| {
        world.store.pause(target, PauseCause::Operator, world.act()).await.expect("a pause")
    };
    assert!(pause(&world).await);
    world.clock.advance(Duration::from_secs(60));
    assert!(!pause(&world).await);
    world.change(vec![put_mapping("crm", "a", "https://changed.test/")]).await;
    world.reopen().await;
    let pipeline = world.store.pipeline().await.expect("the pipeline");
    assert_eq!(pipeline.version, 2, "a pause is no version of the pipeline");
    let kept = pipeline.pause(target).expect("it is paused");
    assert_eq!((kept.changed_at, kept.changed_by.as_str()), (paused_at, "ops"));
    assert_eq!(audited(&world, Action::Pause).await, 1);
    world.check().await;
}

pub(crate) async fn a_resumption_drains_at_a_rate_until_its_drain_ends(world: World) {
    let target = PauseTarget::Destination(world.a.destination_id);
    let resume =
        async |rate| world.store.resume(target, rate, world.act()).await.expect("a resumption");
    assert!(!resume(None).await, "it is not paused");
    world.store.pause(target, PauseCause::Gone, world.act()).await.expect("a pause");
    world.clock.advance(Duration::from_secs(60));
    let resumed_at = world.service_now();
    assert!(resume(Some(5)).await);
    assert!(!resume(Some(5)).await);
    world.clock.advance(Duration::from_secs(60));
    assert!(resume(Some(7)).await);
    let read = async || world.store.pipeline().await.expect("the pipeline").pauses.swap_remove(0);
    let pause = read().await;
    assert_eq!(
        pause.drain(),
        Some(Drain { resumed_at, per_second: 7 }),
        "what was held is the same"
    );
    assert_eq!(pause.resumed_at, Some(resumed_at));
    world.store.end_drain(target, world.service_now()).await.expect("another drain");
    assert!(read().await.drain().is_some(), "it began at another time");
    world.store.end_drain(target, resumed_at).await.expect("its end");
    assert_eq!(
        (read().await.state, read().await.resumed_at),
        (PauseState::Resumed, Some(resumed_at))
    );
    assert_eq!(audited(&world, Action::Resume).await, 2);
    world.check().await;
}

pub(crate) async fn a_removed_subject_has_no_pause(world: World) {
    for target in
        [PauseTarget::Mapping(world.a.mapping_id), PauseTarget::Destination(world.c.destination_id)]
    {
        world.store.pause(target, PauseCause::Operator, world.act()).await.expect("a pause");
    }
    let waits = vec![world.a.mapping_id, world.c.mapping_id];
    world.store.put_receiver_waits(waits, Some(world.service_now())).await.expect("waits");
    let (source, destination) = ("web".to_owned(), "crm".to_owned());
    let mapping = "a".to_owned();
    let removals = vec![
        PipelineChange::RemoveMapping { source: source.clone(), destination, mapping },
        PipelineChange::RemoveDestination { source, destination: "erp".to_owned() },
    ];
    world.change(removals).await;
    let pipeline = world.store.pipeline().await.expect("the pipeline");
    assert_eq!((pipeline.pauses.len(), pipeline.receiver_waits.len()), (0, 0));
    let removed = PauseTarget::Mapping(world.a.mapping_id);
    let refused = world.store.pause(removed, PauseCause::Gone, world.act()).await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
    let refused = world.store.resume(removed, None, world.act()).await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
}

pub(crate) async fn pending_deliveries_are_counted_up_to_a_limit(world: World) {
    for number in 0..5 {
        world.accept_pending(&format!("m-{number}"), world.a).await;
    }
    world.accept_pending("m-b", world.b).await;
    world.accept_leased("m-c", world.b).await;
    let mappings = vec![world.a.mapping_id, world.b.mapping_id, world.c.mapping_id];
    let found = world.store.pending(mappings, 3).await.expect("counts");
    let found: Vec<(MappingId, u64)> = found.into_iter().collect();
    assert_eq!(found, [(world.a.mapping_id, 3), (world.b.mapping_id, 1)]);
}

pub(crate) async fn receivers_waits_are_replaced_and_deleted(mut world: World) {
    let (a, b) = (world.a.mapping_id, world.b.mapping_id);
    let until = world.service_now() + Duration::from_secs(30);
    world.store.put_receiver_waits(vec![a, b], Some(world.service_now())).await.expect("waits");
    world.store.put_receiver_waits(vec![a], Some(until)).await.expect("a longer one");
    world.store.put_receiver_waits(vec![b], None).await.expect("an end");
    world.reopen().await;
    let waits = world.store.pipeline().await.expect("the pipeline").receiver_waits;
    assert_eq!(waits.iter().map(|it| (it.mapping_id, it.until)).collect::<Vec<_>>(), [(a, until)]);
}
