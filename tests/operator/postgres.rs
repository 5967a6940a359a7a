//! PostgreSQL databases that cannot be used: one line with what to do, and exit code 2.

use postrider::store::postgres::schema_version;
use tempfile::TempDir;

use super::commands::run_with;
use crate::support::postgres::{self, Database};

async fn migrate(url: &str) -> (i32, String, String) {
    let folder = TempDir::new().unwrap();
    let url = url.to_owned();
    let run = move || run_with(&folder, &["migrate"], &[("POSTRIDER_DATABASE", &url)]);
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn a_postgresql_database_that_cannot_be_used_exits_with_code_2_and_says_what_to_do() {
    let foreign = Database::new().await;
    let theirs = "CREATE SCHEMA postrider; CREATE TABLE postrider.theirs (id int)";
    foreign.execute(theirs).await.unwrap();
    let port = postgres::port();
    for (url, expected) in [
        ("postgres://u:secret@127.0.0.1:9/x".to_owned(), "cannot be reached"),
        (
            format!("postgres://postrider:wrong@127.0.0.1:{port}/postgres"),
            "check user and password",
        ),
        (postgres::url("missing"), "createdb"),
        (foreign.url(), "another program"),
        ("postrider.db".to_owned(), "sqlite:// and a path"),
        ("postgres://host".to_owned(), "postgres://user:password@host:5432/name"),
    ] {
        let (code, stdout, stderr) = migrate(&url).await;
        assert_eq!((code, stdout.as_str()), (2, ""), "{url}: {stderr}");
        assert!(stderr.contains(expected), "{url}: {stderr}");
        assert!(!stderr.contains("secret") && !stderr.contains("wrong"), "{stderr}");
    }
}

#[tokio::test]
async fn a_postgresql_database_is_migrated() {
    let database = Database::new().await;
    let (code, stdout, stderr) = migrate(&database.url()).await;
    assert_eq!(code, 0, "{stderr}");
    let expected = format!("the schema is up to date, version {}", schema_version());
    assert!(stdout.contains(&expected), "{stdout}");
    assert!(!stdout.contains("secret"), "{stdout}");
}
