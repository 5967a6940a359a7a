//! Encryption at rest: decryption, errors, and permissions of key files.

use std::os::unix::fs::PermissionsExt as _;

use postrider::domain::clock::Timestamp;
use postrider::settings::Settings;
use postrider::settings::secrets::{
    Keyring, Purpose, SecretError, generate, operator_token, read_token,
};
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_micros(1);

fn settings(folder: &TempDir) -> Settings {
    Settings { secret_key_file: folder.path().join("key"), ..Settings::default() }
}

#[test]
fn ciphertext_decrypts_only_for_its_purpose_and_row() {
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
fn a_different_key_is_reported_by_its_id() {
    let (one, other) = (Keyring::new(&[1; 32]), Keyring::new(&[2; 32]));
    let sealed = one.seal(&SecretString::from("x"), Purpose::WriteKey, NOW).unwrap();
    let error = other.open(&sealed, Purpose::WriteKey).unwrap_err().to_string();
    assert!(error.contains(one.key_id()) && error.contains(other.key_id()), "{error}");
}

#[test]
fn the_key_file_is_created_once_with_mode_0600() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let made = Keyring::of(&settings, false).unwrap();
    let mode = std::fs::metadata(&settings.secret_key_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(Keyring::of(&settings, true).unwrap().key_id(), made.key_id());
}

#[test]
fn a_lost_key_file_is_not_replaced_while_secrets_need_it() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    assert!(matches!(Keyring::of(&settings, true), Err(SecretError::KeyMissing { .. })));
    assert!(!settings.secret_key_file.exists());
}

#[test]
fn key_files_readable_by_others_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    let token = operator_token(&path).unwrap();
    assert_eq!(operator_token(&path).unwrap().expose_secret(), token.expose_secret());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = read_token(&path).unwrap_err().to_string();
    assert!(error.contains("can be read by others (mode 0640): run chmod 600"), "{error}");
}

#[test]
fn generated_keys_differ() {
    let (one, other) = (generate("wk_").unwrap(), generate("wk_").unwrap());
    assert_ne!(one.expose_secret(), other.expose_secret());
    assert_eq!(one.expose_secret().len(), "wk_".len() + 43);
}
