//! Secrets at rest: sealing, opening, and the permissions of their files.

use std::os::unix::fs::PermissionsExt as _;

use postrider::domain::clock::Timestamp;
use postrider::settings::secrets::{
    Keyring, Purpose, SecretError, generate, operator_token, read_token,
};
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_micros(1);

#[test]
fn a_sealed_secret_opens_for_its_purpose_and_row_only() {
    let keyring = Keyring::new(&[7; 32]);
    let plain = SecretString::from("s3cret");
    let sealed = keyring.seal(&plain, Purpose::SharedSecret, NOW).unwrap();
    let opened = keyring.open(&sealed, Purpose::SharedSecret).unwrap();
    assert_eq!(opened.expose_secret(), "s3cret");
    assert!(!format!("{sealed:?}").contains("s3cret"));
    assert!(matches!(keyring.open(&sealed, Purpose::WriteKey), Err(SecretError::Tampered)));

    let mut swapped = sealed.clone();
    swapped.id = keyring.seal(&plain, Purpose::SharedSecret, NOW).unwrap().id;
    assert!(matches!(keyring.open(&swapped, Purpose::SharedSecret), Err(SecretError::Tampered)));

    for index in 0..sealed.sealed.len() {
        let mut changed = sealed.clone();
        changed.sealed[index] ^= 1;
        let opened = keyring.open(&changed, Purpose::SharedSecret);
        assert!(matches!(opened, Err(SecretError::Tampered)), "byte {index}");
    }
    let mut short = sealed;
    short.sealed.truncate(5);
    assert!(matches!(keyring.open(&short, Purpose::SharedSecret), Err(SecretError::Tampered)));
}

#[test]
fn another_key_is_named_by_its_id() {
    let (one, other) = (Keyring::new(&[1; 32]), Keyring::new(&[2; 32]));
    let sealed = one.seal(&SecretString::from("x"), Purpose::WriteKey, NOW).unwrap();
    let error = other.open(&sealed, Purpose::WriteKey).unwrap_err().to_string();
    assert!(error.contains(one.key_id()) && error.contains(other.key_id()), "{error}");
}

#[test]
fn the_key_file_is_created_once_with_mode_0600_and_reused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("key");
    let made = Keyring::load(None, &path, false).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(Keyring::load(None, &path, true).unwrap().key_id(), made.key_id());
}

#[test]
fn a_missing_key_file_is_not_replaced_while_sealed_secrets_exist() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("key");
    assert!(matches!(Keyring::load(None, &path, true), Err(SecretError::KeyMissing { .. })));
    assert!(!path.exists());
}

#[test]
fn secret_files_readable_by_others_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    let token = operator_token(&path).unwrap();
    assert_eq!(operator_token(&path).unwrap().expose_secret(), token.expose_secret());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = read_token(&path).unwrap_err().to_string();
    assert!(error.contains("is readable by other users (mode 0640): run chmod 600"), "{error}");
}

#[test]
fn generated_keys_differ() {
    let (one, other) = (generate("wk_").unwrap(), generate("wk_").unwrap());
    assert_ne!(one.expose_secret(), other.expose_secret());
    assert_eq!(one.expose_secret().len(), "wk_".len() + 43);
}
