//! Backfills: deliveries of one mapping from kept events, in steps, none twice, found from their event.

use std::time::Duration;

use postrider::domain::delivery::State;
use postrider::domain::id::{DeliveryId, EventId};
use postrider::domain::job::{Job, JobAction, JobFilter, JobState, NewJob};
use postrider::store::{
    BackfillCursor, BackfillStep, DeliveryQuery, EventConditions, JobStep, PruneRequest,
};

use super::world::{WINDOW, World};

fn filter(world: &World) -> JobFilter {
    JobFilter {
        mapping_id: Some(world.a.mapping_id),
        accepted_from: Some(super::START),
        accepted_until: Some(world.now() + Duration::from_secs(1)),
        ..JobFilter::default()
    }
}

async fn create(world: &World, filter: JobFilter) -> Job {
    let job = NewJob {
        action: JobAction::Backfill,
        filter,
        rate_per_second: None,
        actor: "ops".to_owned(),
        note: None,
    };
    world.store.create_backfill(job, (3, false), world.act()).await.expect("created")
}

/// One step over all that a page of this size selects.
async fn step(world: &World, job: &Job, page: u32) -> JobStep {
    let running = world.store.running_backfill(job.id).await.expect("read").expect("it runs");
    let range = (running.cursor, Some(running.upto));
    let filter = running.job.spec.filter.clone();
    let page = world.store.backfill_page(filter, range, page).await.expect("a page");
    let step = BackfillStep {
        job_id: job.id,
        from: running.cursor,
        to: page.cursor,
        events: page.events.iter().map(|it| it.id).collect(),
        is_last: page.is_last,
        now: world.moment(),
    };
    let made = world.store.advance_backfill(step.clone()).await.expect("a step").expect("the job");
    // The same step again, as after a lost answer, makes nothing.
    let again = world.store.advance_backfill(step).await.expect("a step").expect("the job");
    assert_eq!((again.due.len(), again.job.done), (0, made.job.done));
    world.check().await;
    made
}

async fn of_event(world: &World, event_id: EventId) -> Vec<DeliveryId> {
    let query = DeliveryQuery { event_id: Some(event_id), limit: 100, ..DeliveryQuery::default() };
    let rows = world.store.deliveries(query).await.expect("listed").rows;
    rows.iter().map(|row| row.delivery.id).collect()
}

pub(crate) async fn a_backfill_makes_one_delivery_of_each_event_without_one(mut world: World) {
    let (with, own) = world.accept_all("m-1", vec![world.pending(world.a)]).await;
    let mut without = Vec::new();
    for number in 2..6 {
        without.push(world.accept(&format!("m-{number}"), vec![world.pending(world.b)]).await);
    }
    let job = create(&world, filter(&world)).await;
    world.accept("later", vec![]).await;
    assert_eq!(step(&world, &job, 3).await.due, [world.a.mapping_id; 2]);
    world.reopen().await;
    world.clock.advance(Duration::from_secs(1));
    let ended = step(&world, &job, 3).await;
    assert_eq!((ended.job.state, ended.job.done), (JobState::Done, 4));
    assert_eq!(of_event(&world, with).await, own, "it has one already");
    for (event_id, own) in without {
        let found = of_event(&world, event_id).await;
        assert_eq!((found.len(), found[1]), (2, own), "newest first");
        let made = world.delivery(found[0]).await;
        assert_eq!(
            (made.mapping_id, made.state, made.tried),
            (world.a.mapping_id, State::Pending, 0)
        );
        assert_eq!(made.due_at.map(|at| at + WINDOW), Some(made.deadline_at));
    }
    let ledger = world.store.ledger().await.expect("the ledger");
    assert_eq!((ledger.accepted, ledger.pending), (9, 9));
    // Another one finds nothing to do, unless asked.
    let job = create(&world, filter(&world)).await;
    assert_eq!(step(&world, &job, 100).await.job.done, 1, "the later event");
    let again = JobFilter { again: true, ..filter(&world) };
    let job = create(&world, again).await;
    assert_eq!(step(&world, &job, 100).await.job.done, 6);
    assert_eq!(of_event(&world, with).await.len(), 2);
}

pub(crate) async fn backfilled_deliveries_are_claimed_found_and_pruned_with_their_event(
    world: World,
) {
    let (event_id, own) = world.accept("m-1", vec![world.leased(world.b)]).await;
    world.deliver(own, 1).await;
    world.accept("m-2", vec![]).await;
    let job = create(&world, filter(&world)).await;
    step(&world, &job, 100).await;
    let made = of_event(&world, event_id).await[0];
    // By messageId, as lists and jobs find them.
    let event =
        EventConditions { message_id: Some("m-1".to_owned()), ..EventConditions::default() };
    let query = DeliveryQuery { event, limit: 10, ..DeliveryQuery::default() };
    let found = world.store.deliveries(query).await.expect("listed").rows;
    assert_eq!(found.iter().map(|it| it.delivery.id).collect::<Vec<_>>(), [made, own]);
    let of_event = JobFilter { event_id: Some(event_id), ..JobFilter::default() };
    let counted = world.store.preview_job(JobAction::Discard, of_event, 10).await.expect("counted");
    assert_eq!(counted.matched, 1);
    assert_eq!(counted.sample[0].delivery.id, made);
    let request = |days: u32| {
        let day = Duration::from_secs(24 * 3_600);
        PruneRequest {
            settled_before: world.service_now() - day * days,
            dead_before: world.service_now() - day * days,
            limit: 100,
        }
    };
    world.clock.advance(Duration::from_secs(40 * 24 * 3_600));
    let pruned = world.store.prune(request(30)).await.expect("pruned");
    assert_eq!(pruned.events, 0, "their deliveries are pending");
    let claimed = world.claim(world.a, 10).await.deliveries;
    assert_eq!(claimed.len(), 2);
    for it in &claimed {
        world.deliver(it.id, it.token).await;
    }
    world.clock.advance(Duration::from_secs(40 * 24 * 3_600));
    let pruned = world.store.prune(request(30)).await.expect("pruned");
    assert_eq!((pruned.events, pruned.deliveries), (2, 3));
    world.check().await;
}

pub(crate) async fn a_success_settles_backfilled_siblings(world: World) {
    let (event_id, own) = world.accept("m-1", vec![world.leased(world.b)]).await;
    let job = create(&world, filter(&world)).await;
    step(&world, &job, 100).await;
    let made = of_event(&world, event_id).await[0];
    world.deliver_for_any(own, 1).await;
    let settled = world.delivery(made).await;
    assert_eq!((settled.state, settled.settled_by), (State::Delivered, Some(own)));
    world.check().await;
}

pub(crate) async fn a_backfill_scans_a_bounded_number_of_events(world: World) {
    for number in 0..10 {
        world.accept(&format!("m-{number}"), vec![]).await;
    }
    let mut cursor = BackfillCursor::default();
    let mut pages = Vec::new();
    loop {
        let page =
            world.store.backfill_page(filter(&world), (cursor, None), 4).await.expect("a page");
        pages.push(page.events.len());
        cursor = page.cursor;
        if page.is_last {
            break;
        }
    }
    assert_eq!(pages, [4, 4, 2]);
    let job = create(&world, filter(&world)).await;
    world.store.cancel_job(job.id, world.act()).await.expect("cancelled");
    assert!(world.store.running_backfill(job.id).await.expect("read").is_none());
}
