//! Jobs: redrive and discard, in steps, over restarts.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::attempt::Outcome;
use postrider::domain::condition::{EventConditions, StatusRange};
use postrider::domain::delivery::{Reason, State};
use postrider::domain::event::EventType;
use postrider::domain::id::{DeliveryId, EventId, JobId};
use postrider::domain::job::{Job, JobAction, JobFilter, JobState, NewJob};
use postrider::store::{Accepted, Cursor, JobQuery, NewEvent, PipelineChange, Recorded};

use super::world::{WINDOW, World, put_mapping};

fn job_of(action: JobAction, filter: JobFilter) -> NewJob {
    NewJob {
        action,
        filter,
        rate_per_second: Some(50),
        actor: "operator".to_owned(),
        note: Some("the receiver is back".to_owned()),
    }
}

fn of_destination(world: &World) -> JobFilter {
    JobFilter { destination_id: Some(world.a.destination_id), ..JobFilter::default() }
}

async fn create(world: &World, action: JobAction, filter: JobFilter) -> Job {
    world.store.create_job(job_of(action, filter), world.act()).await.expect("made")
}

/// Steps the job to its end; gives it and how many steps that took.
async fn finish(world: &World, id: JobId, limit: u32) -> (Job, u32) {
    for steps in 1..1_000 {
        let step = world.store.advance_job(id, limit, world.moment()).await.expect("a step");
        let job = step.expect("the job").job;
        world.check().await;
        if job.state != JobState::Running {
            return (job, steps);
        }
    }
    panic!("the job does not end");
}

async fn dead_letters(world: &World, count: usize) -> Vec<DeliveryId> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(world.dead(&format!("dead-{number}"), world.a).await);
    }
    ids
}

pub(crate) async fn a_preview_changes_nothing(world: World) {
    let ids = dead_letters(&world, 5).await;
    let before = world.store.ledger().await.expect("the ledger");
    let preview = world
        .store
        .preview_job(JobAction::Redrive, of_destination(&world), 2)
        .await
        .expect("previewed");
    assert_eq!(preview.matched, 5);
    let sample: Vec<_> = preview.sample.iter().map(|row| row.delivery.id).collect();
    assert_eq!(sample, ids[..2]);
    assert_eq!(world.store.ledger().await.expect("the ledger"), before);
    assert!(world.store.jobs(newest(10)).await.expect("jobs").is_empty());
}

pub(crate) async fn a_redrive_gives_a_fresh_window(world: World) {
    let id = world.dead("m-1", world.a).await;
    world.clock.advance(10 * WINDOW);
    let job = create(&world, JobAction::Redrive, of_destination(&world)).await;
    assert_eq!((job.state, job.matched, job.done), (JobState::Running, 1, 0));
    let step =
        world.store.advance_job(job.id, 10, world.moment()).await.expect("a step").expect("job");
    assert_eq!(step.due, [world.a.mapping_id]);
    let row = world.delivery(id).await;
    assert_eq!((row.state, row.due_at, row.tried), (State::Pending, Some(world.service_now()), 0));
    assert_eq!(
        (row.deadline_at, row.settled_at, row.reason),
        (world.service_now() + WINDOW, None, None)
    );
    assert_eq!(row.token, 1, "numbers of attempts go on");
    assert_eq!((step.job.state, step.job.done), (JobState::Done, 1));
    assert_eq!(step.job.finished_at, Some(world.now()));
    assert_eq!(world.claim(world.a, 1).await.deliveries[0].token, 2);
    world.check().await;
}

pub(crate) async fn a_redrive_runs_in_steps_and_excludes_later_dead_letters(world: World) {
    dead_letters(&world, 10).await;
    let job = create(&world, JobAction::Redrive, of_destination(&world)).await;
    let later = world.dead("later", world.a).await;
    let (job, steps) = finish(&world, job.id, 3).await;
    assert_eq!((job.done, job.matched), (10, 10));
    assert_eq!(steps, 4);
    assert_eq!(world.state(later).await, State::Dead);
    let again =
        world.store.advance_job(job.id, 3, world.moment()).await.expect("a step").expect("job");
    assert_eq!((again.job, again.due.len()), (job, 0));
}

pub(crate) async fn a_job_resumes_after_a_restart(mut world: World) {
    dead_letters(&world, 7).await;
    let job = create(&world, JobAction::Redrive, of_destination(&world)).await;
    world.store.advance_job(job.id, 4, world.moment()).await.expect("a step");
    world.reopen().await;
    let read = world.store.job(job.id).await.expect("read").expect("the job");
    assert_eq!((read.state, read.done), (JobState::Running, 4));
    assert_eq!(read.spec, job.spec);
    let (job, _) = finish(&world, job.id, 4).await;
    assert_eq!((job.state, job.done), (JobState::Done, 7));
    assert_eq!(world.store.ledger().await.expect("the ledger").pending, 7);
}

pub(crate) async fn a_cancelled_job_stops(world: World) {
    dead_letters(&world, 5).await;
    let job = create(&world, JobAction::Redrive, of_destination(&world)).await;
    world.store.advance_job(job.id, 2, world.moment()).await.expect("a step");
    world.clock.advance(Duration::from_secs(1));
    let job = world.store.cancel_job(job.id, world.act()).await.expect("done").expect("the job");
    assert_eq!((job.state, job.done), (JobState::Cancelled, 2));
    assert_eq!(job.finished_at, Some(world.now()));
    let step =
        world.store.advance_job(job.id, 2, world.moment()).await.expect("a step").expect("job");
    assert_eq!((&step.job, step.due.len()), (&job, 0));
    assert_eq!(world.store.ledger().await.expect("the ledger").dead, 3);
    world.clock.advance(Duration::from_secs(1));
    let again = world.store.cancel_job(job.id, world.act()).await.expect("done");
    assert_eq!(again, Some(job), "cancelling twice changes nothing");
    world.check().await;
}

pub(crate) async fn a_discard_selects_pending_and_dead_deliveries(world: World) {
    let dead = world.dead("m-1", world.a).await;
    let pending = world.accept_pending("m-2", world.a).await;
    let leased = world.accept_leased("m-3", world.a).await;
    let other = world.accept_pending("m-4", world.c).await;
    let job = create(&world, JobAction::Discard, of_destination(&world)).await;
    assert_eq!(job.matched, 2);
    let (job, _) = finish(&world, job.id, 10).await;
    assert_eq!(job.done, 2);
    for id in [dead, pending] {
        let row = world.delivery(id).await;
        assert_eq!((row.state, row.due_at, row.reason), (State::Discarded, None, None));
        assert_eq!(row.settled_at, Some(world.now()));
    }
    assert_eq!(world.state(leased).await, State::Leased);
    assert_eq!(world.state(other).await, State::Pending);
    assert_eq!(world.deliver(leased, 1).await, Recorded::Applied);
    assert_eq!(world.store.ledger().await.expect("the ledger").discarded, 2);
}

pub(crate) async fn every_condition_of_a_job_filter_applies(world: World) {
    let first = world.dead("m-1", world.a).await;
    world.clock.advance(Duration::from_secs(60));
    let mut event = world.event("m-2");
    event.kind = Some(EventType::Identify);
    event.name = Some("Trial".to_owned());
    event.user_id = Some("u-2".to_owned());
    let accepted = world.accept_one(event, vec![world.leased(world.b)]).await;
    let Accepted::Stored { delivery_ids, .. } = accepted else { panic!("a duplicate") };
    let second = delivery_ids.iter().next().expect("its delivery");
    let second_event = world.delivery(second).await.event_id;
    world.kill(second, 1, Reason::Redirect).await;
    let pending = world.accept_pending("m-3", world.c).await;
    let (any, no) = (JobFilter::default(), EventConditions::default());
    let like = |event| JobFilter { event, ..JobFilter::default() };
    let status = |from, to| Some(StatusRange { from, to });
    let cases = [
        (JobFilter { delivery_ids: vec![second, pending], ..any.clone() }, vec![second]),
        (
            JobFilter { destination_id: Some(world.a.destination_id), ..any.clone() },
            vec![first, second],
        ),
        (JobFilter { mapping_id: Some(world.b.mapping_id), ..any.clone() }, vec![second]),
        (JobFilter { state: Some(State::Dead), ..any.clone() }, vec![first, second]),
        (JobFilter { state: Some(State::Pending), ..any.clone() }, vec![]),
        (JobFilter { reason: Some(Reason::Redirect), ..any.clone() }, vec![second]),
        (JobFilter { event_id: Some(second_event), ..any.clone() }, vec![second]),
        (JobFilter { event_id: Some(EventId(999)), ..any.clone() }, vec![]),
        (like(EventConditions { kind: Some(EventType::Identify), ..no.clone() }), vec![second]),
        (like(EventConditions { name: Some("Trial".to_owned()), ..no.clone() }), vec![second]),
        (like(EventConditions { user_id: Some("u-1".to_owned()), ..no.clone() }), vec![first]),
        (like(EventConditions { message_id: Some("m-2".to_owned()), ..no.clone() }), vec![second]),
        (like(EventConditions { source_id: Some(world.app), ..no.clone() }), vec![]),
        (JobFilter { outcome: Some(Outcome::Rejected), ..any.clone() }, vec![first, second]),
        (JobFilter { outcome: Some(Outcome::Dns), ..any.clone() }, vec![]),
        (JobFilter { among: Some(vec![world.c.destination_id]), ..any.clone() }, vec![]),
        (JobFilter { accepted_from: Some(world.now()), ..any.clone() }, vec![second]),
        (JobFilter { accepted_until: Some(world.now()), ..any.clone() }, vec![first]),
        (JobFilter { status: status(410, 410), ..any.clone() }, vec![first, second]),
        (JobFilter { status: status(400, 499), ..any.clone() }, vec![first, second]),
        (JobFilter { status: status(500, 599), ..any.clone() }, vec![]),
    ];
    for (filter, wanted) in cases {
        let preview = world
            .store
            .preview_job(JobAction::Redrive, filter.clone(), 10)
            .await
            .expect("previewed");
        let found: Vec<_> = preview.sample.iter().map(|row| row.delivery.id).collect();
        assert_eq!((found, preview.matched), (wanted.clone(), wanted.len() as u64), "{filter:?}");
        let job = create(&world, JobAction::Redrive, filter.clone()).await;
        let read = world.store.job(job.id).await.expect("read").expect("the job");
        assert_eq!(read.spec.filter, filter);
        world.store.cancel_job(job.id, world.act()).await.expect("cancelled");
    }
    let filter = JobFilter { state: Some(State::Pending), ..any };
    let preview = world.store.preview_job(JobAction::Discard, filter, 10).await.expect("previewed");
    assert_eq!(preview.sample[0].delivery.id, pending);
}

pub(crate) async fn a_job_over_events_scans_a_bounded_number_per_step(world: World) {
    for thousand in 0..12 {
        let events = (0..1_000).map(|number| NewEvent {
            event: Arc::new(world.event(&format!("m-{thousand}-{number}"))),
            deliveries: vec![world.pending(world.a)],
            skips: Vec::new(),
        });
        world.store.accept(events.collect()).await.expect("accepted");
    }
    let event =
        EventConditions { message_id: Some("m-11-999".to_owned()), ..EventConditions::default() };
    let filter = JobFilter { state: Some(State::Pending), event, ..JobFilter::default() };
    let preview = world.store.preview_job(JobAction::Discard, filter.clone(), 10).await;
    let preview = preview.expect("previewed");
    assert_eq!((preview.matched, preview.more, preview.sample.len()), (1, false, 1));
    let job = create(&world, JobAction::Discard, filter).await;
    let (job, steps) = finish(&world, job.id, 500).await;
    assert_eq!((job.matched, job.done), (1, 1));
    assert!(steps >= 3, "12,000 deliveries were gone over in {steps} steps");
    assert_eq!(world.store.ledger().await.expect("the ledger").discarded, 1);
}

fn newest(limit: u32) -> JobQuery {
    JobQuery { limit, ..JobQuery::default() }
}

pub(crate) async fn jobs_are_listed_newest_first(world: World) {
    let mut made = Vec::new();
    for _ in 0..3 {
        made.insert(0, create(&world, JobAction::Redrive, of_destination(&world)).await);
    }
    let discard = create(&world, JobAction::Discard, of_destination(&world)).await;
    let listed = async |query| world.store.jobs(query).await.expect("jobs");
    let redrives = JobQuery { action: Some(JobAction::Redrive), ..newest(10) };
    assert_eq!(listed(newest(1)).await, [discard]);
    assert_eq!(listed(redrives.clone()).await, made);
    let first = JobQuery { limit: 2, ..redrives.clone() };
    assert_eq!(listed(first).await, made[..2]);
    let before = Some(Cursor { at: made[1].created_at, key: made[1].id.0 });
    let rest = JobQuery { before, ..redrives.clone() };
    assert_eq!(listed(rest).await, made[2..]);
    let step = world.store.advance_job(made[0].id, 5, world.moment()).await.expect("a step");
    assert_eq!(step.expect("the job").job.state, JobState::Done, "nothing to do");
    let running = JobQuery { state: Some(JobState::Running), ..redrives };
    assert_eq!(listed(running).await, made[1..]);
}

pub(crate) async fn an_unknown_job_is_none(world: World) {
    let id = JobId(99);
    assert!(world.store.job(id).await.expect("read").is_none());
    assert!(world.store.advance_job(id, 1, world.moment()).await.expect("read").is_none());
    assert!(world.store.cancel_job(id, world.act()).await.expect("read").is_none());
}

pub(crate) async fn deliveries_of_removed_mappings_become_dead_letters(world: World) {
    let mut removed = Vec::new();
    for number in 0..5 {
        removed.push(world.accept_pending(&format!("m-{number}"), world.a).await);
    }
    let kept = world.accept_pending("kept", world.b).await;
    let end = async |limit| world.store.end_removed(world.now(), limit).await.expect("ended");
    assert_eq!(end(10).await, []);
    let waiting = async || {
        let mappings = vec![world.a.mapping_id, world.b.mapping_id];
        let waiting = world.store.waiting(mappings).await.expect("counted");
        waiting.into_values().collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, [5, 1]);
    let change = PipelineChange::RemoveMapping {
        source: "web".to_owned(),
        destination: "crm".to_owned(),
        mapping: "a".to_owned(),
    };
    world.change(vec![change, put_mapping("crm", "a", "https://new.test/")]).await;
    assert_eq!(end(3).await, [(world.a.mapping_id, 3)]);
    assert_eq!(end(3).await, [(world.a.mapping_id, 2)]);
    assert_eq!(waiting().await, [1]);
    for id in removed {
        let found = world.delivery(id).await;
        assert_eq!((found.state, found.reason), (State::Dead, Some(Reason::Removed)));
    }
    assert_eq!(world.state(kept).await, State::Pending);
    world.check().await;
    // Nothing can be sent for a removed mapping: its dead letters are not redriven.
    let redrive = create(&world, JobAction::Redrive, JobFilter::default()).await;
    assert_eq!((redrive.matched, redrive.more), (0, false));
    let step = world.store.advance_job(redrive.id, 100, world.moment()).await.expect("a step");
    let job = step.expect("the job").job;
    assert_eq!((job.state, job.done), (JobState::Done, 0));
    world.check().await;
}
