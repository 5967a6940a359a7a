//! Alerts: kept, replaced, forgotten.

use postrider::domain::alert::{Alert, AlertKind};
use postrider::domain::clock::Timestamp;

use super::world::World;

fn alert(kind: AlertKind, subject: &str, raised_us: i64) -> Alert {
    Alert {
        kind,
        subject: subject.to_owned(),
        detail: "ten failures".to_owned(),
        raised_at: Timestamp::from_micros(raised_us),
        cleared_at: None,
        published: false,
    }
}

pub(crate) async fn an_alert_is_stored_once_per_subject(world: World) {
    let later = alert(AlertKind::DiskLow, "node", 2);
    let first = alert(AlertKind::CircuitOpen, "website/one/all", 1);
    for alert in [&later, &first, &later] {
        world.store.put_alert(alert.clone()).await.expect("kept");
    }
    assert_eq!(world.store.alerts().await.expect("read"), [first.clone(), later.clone()]);
    let cleared_at = Some(Timestamp::from_micros(3));
    let cleared = Alert { cleared_at, published: true, ..first };
    world.store.put_alert(cleared.clone()).await.expect("kept");
    assert_eq!(world.store.alerts().await.expect("read"), [cleared, later]);
}

pub(crate) async fn deleting_an_alert_deletes_only_that_alert(world: World) {
    for kind in AlertKind::ALL {
        world.store.put_alert(alert(kind, "website/one", 1)).await.expect("kept");
    }
    for (kind, subject) in [(AlertKind::DiskLow, "website/one"), (AlertKind::DeadLetters, "other")]
    {
        world.store.remove_alert(kind, subject).await.expect("forgotten");
    }
    let kept: Vec<_> = world.store.alerts().await.expect("read").iter().map(|it| it.kind).collect();
    assert_eq!(kept.len(), AlertKind::ALL.len() - 1);
    assert!(!kept.contains(&AlertKind::DiskLow));
}
