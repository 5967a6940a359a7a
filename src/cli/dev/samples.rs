//! `dev`'s pipeline and events: one source, a steady and a flaky destination, and a sample of every event
//! type, sent over the public APIs.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::sender::ApiClient;
use crate::server::App;
use crate::settings::Settings;
use crate::settings::secrets;

/// Where the receiver always answers 200.
pub(super) const STEADY_PATH: &str = "/steady";
/// Where the receiver answers 503 to the first two tries.
pub(super) const FLAKY_PATH: &str = "/flaky";

/// An event that intake has acknowledged.
pub(super) struct Sample {
    pub(super) kind: String,
    pub(super) message_id: String,
}

/// The temporary service's pipeline.
pub(super) struct Setup {
    write_key: SecretString,
    shared_secret: SecretString,
    token_file: std::path::PathBuf,
}

impl Setup {
    pub(super) fn new(settings: &Settings, shared_secret: SecretString) -> anyhow::Result<Self> {
        Ok(Self {
            write_key: secrets::generate("wk_")?,
            shared_secret,
            token_file: settings.token_file.clone(),
        })
    }

    /// The source's write key; the service ends with this process.
    pub(super) fn write_key(&self) -> &str {
        self.write_key.expose_secret()
    }

    /// Writes the settings that let other commands find the service.
    pub(super) fn write_config(&self, dir: &TempDir, address: SocketAddr) -> anyhow::Result<()> {
        let database = dir.path().join("postrider.db");
        let text =
            format!("listen = \"{address}\"\ndatabase = \"sqlite://{}\"\n", database.display());
        Ok(std::fs::write(dir.path().join("postrider.toml"), text)?)
    }

    /// Applies the pipeline and sends the samples; returns them once all are acknowledged.
    pub(super) async fn send(
        &self,
        app: &App,
        receiver: SocketAddr,
    ) -> anyhow::Result<Vec<Sample>> {
        let token = secrets::read_token(&self.token_file)?.context("the token file is gone")?;
        let client = ApiClient::new(&format!("http://{}", app.address), Some(token))?;
        let request = json!({"document": self.document(receiver)});
        let (status, answer) = client.post("/api/v1/pipeline", &request).await?;
        if status != StatusCode::OK {
            bail!("the sample pipeline was refused: {answer}");
        }
        let mut sent = Vec::new();
        let samples: Vec<Value> =
            serde_json::from_str(include_str!("../../../assets/samples.json"))?;
        for (number, mut sample) in samples.into_iter().enumerate() {
            let kind = sample["type"].as_str().unwrap_or_default().to_owned();
            let message_id = format!("sample-{}-{kind}", number + 1);
            sample["messageId"] = json!(message_id);
            let path = format!("/v1/{kind}");
            let answer = client.post_bytes(&path, self.headers()?, Bytes::from(sample.to_string()));
            let answer = answer.await?;
            if answer.status != StatusCode::OK {
                bail!("intake refused the sample {message_id}: {}", answer.json());
            }
            sent.push(Sample { kind, message_id });
        }
        Ok(sent)
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:", self.write_key())));
        Ok(HeaderMap::from_iter([
            (header::AUTHORIZATION, HeaderValue::from_str(&basic)?),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]))
    }

    fn document(&self, receiver: SocketAddr) -> Value {
        let destination = |name: &str, path: &str| {
            json!({
                "name": name,
                "shared_secret": {"value": self.shared_secret.expose_secret()},
                "mappings": [{"name": "everything", "url": format!("http://{receiver}{path}")}],
            })
        };
        json!({"sources": [{
            "name": "demo",
            "write_key": {"value": self.write_key()},
            "destinations": [
                destination("steady", STEADY_PATH),
                destination("flaky", FLAKY_PATH),
            ],
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_key_is_never_taken_for_a_flag() {
        let setup = Setup::new(&Settings::default(), SecretString::from("s")).unwrap();
        assert!(setup.write_key().starts_with("wk_"), "one in 64 would begin with a dash");
    }
}
