//! Settings: precedence, origins, and errors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use postrider::settings::{Given, Loaded, Origin, load};
use tempfile::TempDir;

struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("postrider.toml");
    std::fs::write(&path, text).unwrap();
    File { _folder: folder, path }
}

fn read(
    file: &File,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Loaded, String> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let given = Given {
        file: Some(file.path.clone()),
        environment: environment.iter().map(pair).collect(),
        flags: flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
    };
    // The folder's name differs with every run.
    load(&given).map_err(|error| {
        error.to_string().replace(&file.path.display().to_string(), "postrider.toml")
    })
}

fn refused(text: &str) -> String {
    read(&file(text), &[], &[]).map(|loaded| loaded.to_string()).unwrap_err()
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let file = file("listen = '127.0.0.1:1'\nlog = 'warn'\nretention = '7d'\n");
    let environment = [("POSTRIDER_LISTEN", "127.0.0.1:2"), ("POSTRIDER_LOG", "debug")];
    let loaded = read(&file, &environment, &[("listen", "127.0.0.1:3")]).unwrap();
    assert_eq!(loaded.settings.listen, "127.0.0.1:3");
    assert_eq!(loaded.settings.log, "debug");
    assert_eq!(loaded.settings.retention, Duration::from_secs(7 * 86_400));
    assert_eq!(loaded.origins["listen"], Origin::Flag("listen".to_owned()));
    assert_eq!(loaded.origins["log"], Origin::Variable("POSTRIDER_LOG".to_owned()));
    assert_eq!(loaded.origins["retention"], Origin::File { path: file.path.clone(), line: 3 });
    assert!(!loaded.origins.contains_key("user_agent"), "it is a default");
}

#[test]
fn token_and_key_files_default_to_the_database_directory() {
    let file = file("database = 'sqlite:///var/lib/postrider/main.db'\ntoken_file = 't'\n");
    let loaded = read(&file, &[], &[]).unwrap();
    let settings = loaded.settings;
    assert_eq!(settings.database.file(), Some(Path::new("/var/lib/postrider/main.db")));
    assert_eq!(settings.secret_key_file, PathBuf::from("/var/lib/postrider/main.db.key"));
    assert_eq!(settings.token_file, PathBuf::from("t"));
}

#[test]
fn printed_settings_hide_secrets_and_parse_again() {
    let empty = file("");
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let environment =
        [("POSTRIDER_SECRET_KEY", key), ("POSTRIDER_ALLOW_NETWORKS", "10.0.0.0/8,::1")];
    let shown = read(&empty, &environment, &[]).unwrap().to_string();
    assert!(!shown.contains(key));
    assert!(shown.contains("# secret_key = \"(hidden)\""), "{shown}");
    assert!(shown.contains("allow_networks = [\"10.0.0.0/8\",\"::1/128\"]"), "{shown}");
    let again = read(&file(&shown), &[], &[]).unwrap();
    assert_eq!(again.settings.allow_networks.len(), 2);
}

#[test]
fn urls_with_invisible_characters_or_port_0_are_refused() {
    for name in ["public_url", "otlp_endpoint"] {
        for url in ["https://a.test/\\u00a0", "https://a\\u200b.test", "https://a.test:0"] {
            let fault = refused(&format!("{name} = \"{url}\""));
            assert!(fault.contains(&format!("{name} should be an http or https URL")), "{fault}");
        }
        assert!(read(&file(&format!("{name} = \"https://a.test\"")), &[], &[]).is_ok());
    }
}

#[test]
fn a_url_that_may_have_a_secret_is_not_quoted() {
    for url in ["http://u:hunter2@a.test/?", "http://a.test/?key=hunter2", "ftp://a.test/#hunter2"]
    {
        for name in ["public_url", "otlp_endpoint", "database"] {
            let fault = refused(&format!("{name} = \"{url}\""));
            assert!(fault.ends_with(", not the given value"), "{fault}");
        }
    }
}

#[test]
fn delivery_ports_are_a_list_of_ports_and_ranges() {
    let ports =
        |text: &str| read(&file(text), &[], &[]).unwrap().settings.delivery_ports.to_string();
    assert_eq!(ports(""), "");
    assert_eq!(ports("delivery_ports = [443, \"8000-8999\"]"), "443,8000-8999");
    assert_eq!(ports("delivery_ports = 443"), "443");
    assert_eq!(ports("delivery_ports = \"80, 443\""), "80,443");
    let variable = [("POSTRIDER_DELIVERY_PORTS", "443,8000-8999")];
    let shown = read(&file(""), &variable, &[]).unwrap().to_string();
    assert!(shown.contains("delivery_ports = [\"443\",\"8000-8999\"]"), "{shown}");
    insta::assert_snapshot!(refused("delivery_ports = [0]"), @"postrider.toml:1: delivery_ports should be a list of ports and ranges such as 443,8000-8999, separated by commas, not [\"0\"]");
}

#[test]
fn retention_is_a_duration_and_its_former_name_counts_days() {
    const DAY: u64 = 86_400;
    let retention = |loaded: &Loaded| {
        (loaded.settings.retention.as_secs(), loaded.settings.dead_retention.as_secs())
    };
    let defaults = read(&file(""), &[], &[]).unwrap();
    assert_eq!(retention(&defaults), (30 * DAY, 90 * DAY));
    let given = file("retention = '90s'\ndead_retention_days = 7\n");
    let loaded = read(&given, &[], &[]).unwrap();
    assert_eq!(retention(&loaded), (90, 7 * DAY));
    let shown = loaded.to_string();
    assert!(shown.contains("\nretention = \"90s\""), "{shown}");
    assert!(shown.contains("\ndead_retention = \"7d\""), "{shown}");
    let variables = [("POSTRIDER_RETENTION_DAYS", "3"), ("POSTRIDER_DEAD_RETENTION", "36h")];
    let loaded = read(&given, &variables, &[]).unwrap();
    assert_eq!(retention(&loaded), (3 * DAY, 36 * 3_600), "variables come after the file");
    let loaded = read(&given, &variables, &[("retention_days", "2")]).unwrap();
    assert_eq!(retention(&loaded), (2 * DAY, 36 * 3_600), "flags come last");
    insta::assert_snapshot!(refused("retention = 30\ndead_retention = '1w'"), @r#"
    postrider.toml:1: retention should be a whole number with a unit, such as 12h or 30d, from 1s to 36500d, not 30
    postrider.toml:2: dead_retention should be a whole number with a unit, such as 12h or 30d, from 1s to 36500d, not "1w"
    "#);
    insta::assert_snapshot!(refused("retention_days = 0\ndead_retention_days = '1h'"), @r#"
    postrider.toml:1: retention should be a whole number with a unit, such as 12h or 30d, from 1s to 36500d, not "0d"
    postrider.toml:2: dead_retention_days should be a whole number of days, not "1h"
    "#);
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    for good in ["info", "warn,postrider=debug", "off", "postrider::delivery=trace"] {
        assert!(read(&file(&format!("log = '{good}'")), &[], &[]).is_ok(), "{good}");
    }
    for wrong in ["foo", "warn,postrider", "", "postrider=loud"] {
        let fault = refused(&format!("log = '{wrong}'"));
        assert!(fault.contains("log should be a level such as info"), "{fault}");
    }
}

#[test]
fn every_invalid_setting_is_reported_at_once() {
    let text = "listen = 5\nlisten_on = 'x'\nretention_days = -1\nsecret_key = 'x'\n\
                database = 'mysql://h/d'\nlog_format = 'xml'\nallow_networks = ['nowhere']\n";
    insta::assert_snapshot!(refused(text), @r#"
    postrider.toml:1: listen should be an address and port such as 127.0.0.1:8080, not 5
    postrider.toml:2: there is no setting listen_on; did you mean listen?
    postrider.toml:3: retention_days should be a whole number of days, not -1
    postrider.toml:4: secret_key is a secret: give it as POSTRIDER_SECRET_KEY in the environment only
    postrider.toml:5: database should be sqlite:// and a path, such as sqlite://postrider.db, or postgres://user:password@host:5432/name, not "mysql://h/d"
    postrider.toml:6: log_format should be auto, text or json, not "xml"
    postrider.toml:7: allow_networks should be a list of networks such as 10.0.0.0/8, separated by commas, not ["nowhere"]
    "#);
}

#[test]
fn malformed_toml_is_reported_by_line_and_column() {
    assert!(refused("log = 'info'\nlisten = \n").starts_with("postrider.toml:2:10: "));
    assert!(refused("[[").starts_with("postrider.toml:1:"));
    assert!(
        refused("log = 'info'\nlog = 'warn'\n").starts_with("postrider.toml:2:1: duplicate key")
    );
}

#[test]
fn unknown_variables_are_reported_except_those_of_container_platforms() {
    let empty = file("");
    let linked = [("POSTRIDER_PORT", "tcp://10.0.0.1:80"), ("POSTRIDER_SERVICE_HOST", "10.0.0.1")];
    assert!(read(&empty, &linked, &[]).is_ok());
    let error = read(&empty, &[("POSTRIDER_LISTN", "x")], &[]).unwrap_err();
    assert_eq!(
        error,
        "environment: there is no setting POSTRIDER_LISTN; did you mean POSTRIDER_LISTEN?"
    );
}

#[test]
fn an_invalid_secret_is_not_echoed() {
    let error = read(&file(""), &[("POSTRIDER_SECRET_KEY", "hunter2")], &[]).unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
}
