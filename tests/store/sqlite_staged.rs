//! Large changes of the pipeline that the process did not finish.

use postrider::store::{AuditLog as _, Engine as _, PipelineStore as _};
use sqlx::{Connection as _, SqliteConnection, raw_sql};

use super::sqlite::{SqliteFactory, open};

const STAGED: &str = r#"
    INSERT INTO staged_changes (changes) VALUES
        ('[{"PutSource": {"source": "one", "enabled": true}}]'),
        ('[{"PutSource": {"source": "two", "enabled": false}}]');"#;
const DECIDED: &str = r#"
    INSERT INTO decided_change (id, version, act) VALUES (1, 1, '{"actor": "ops", "role": "admin",
        "from": "127.0.0.1", "request_id": null, "note": null, "at": 1800000000000000}');"#;

#[tokio::test]
async fn a_decided_change_is_finished_after_a_crash_and_a_staged_one_is_not() {
    for (sql, version, names) in
        [(STAGED.to_owned(), 0, &[][..]), (format!("{STAGED}{DECIDED}"), 1, &["one", "two"])]
    {
        let factory = SqliteFactory::new();
        open(&factory.path()).await.expect("a store").close().await;
        let mut conn = SqliteConnection::connect(&format!("sqlite:{}", factory.path().display()))
            .await
            .expect("connected");
        raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut conn).await.expect("staged");
        conn.close().await.expect("closed");
        for _ in 0..2 {
            let store = open(&factory.path()).await.expect("a store");
            let pipeline = store.pipeline().await.expect("read");
            let found: Vec<_> = pipeline.sources.iter().map(|it| it.name.as_str()).collect();
            assert_eq!((pipeline.version, found.as_slice()), (version, names));
            assert_eq!(store.verify_audit().await.expect("verified").broken, None);
            store.close().await;
        }
    }
}
